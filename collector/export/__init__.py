"""Export of what is stored, as a stream of any size: CSV or Parquet, over HTTP or to a file.

`tables` says what there is, `reading` fetches it page by page, `csv_file` and `parquet_file` write it down, and
`streams` joins them. No transaction is open between two pages, so a slow reader holds up nobody, and memory does
not grow with what is exported.
"""
