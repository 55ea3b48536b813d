"""What others do with what a run hands on, in processes that cannot import this project."""
