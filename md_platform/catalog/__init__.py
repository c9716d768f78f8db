"""What datasets exist, for which instruments and days, in what state: the platform's own record of its partitions."""
