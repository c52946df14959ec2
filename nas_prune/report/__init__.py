"""The report: what runs hold, finished or not, as one page that needs nothing but itself."""
