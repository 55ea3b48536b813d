"""What is handed out for deploying, read: units, images, command lines of pages."""
