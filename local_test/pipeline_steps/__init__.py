"""The steps of `local_test/pipeline.py`: each module is one step, or what several of them share."""
