"""The operator as a process: what is seen in the cluster goes to `decide`, and its actions are carried out."""
