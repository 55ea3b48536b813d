"""What is typed to a device: each module holds the commands of one concern."""
