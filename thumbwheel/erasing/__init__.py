"""What is done where somebody is erased: every place that holds their texts or their name is rewritten.

`job` is the order of the steps; `frozen` knows datasets, reports and runs' folders, `archives` the Parquet files and
the big events among the artifacts, `lines` the event log and the gateways' spool. Who is erased is in the store
(thumbwheel/store/erasure_rows.py), what is left of an event in thumbwheel/erasure.py.
"""
