"""Video files in and out: exact colours, exact times, other streams carried along."""
