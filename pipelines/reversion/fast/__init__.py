"""Drawing on a CPU: the numbers of the stock U-Net, to rounding, from less work."""
