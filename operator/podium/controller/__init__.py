"""The operator as a process: observes the cluster, asks `decide`, and executes its actions."""
