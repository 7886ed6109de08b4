"""Taking in the records of the fleet: each exactly once, and answered only when it is stored.

`routes` speak HTTP, `decode` makes records of bytes, `tables` says which row a record becomes, and `writer`
commits many batches at once.
"""
