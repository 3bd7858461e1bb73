"""Every figure and table of the paper, each by one command, from run folders; docs/figures.md lists them."""
