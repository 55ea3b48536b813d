"""What people read of an audit: one page, the verdict first."""
