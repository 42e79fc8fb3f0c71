"""What people and machines read: one file per output, each a pure function of the plan or the outcome."""
