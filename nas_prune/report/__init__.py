"""The report: the results of runs, finished or not, as one page that needs no other file."""
