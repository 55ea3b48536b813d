"""What is typed to a server: each module holds the commands of one concern."""
