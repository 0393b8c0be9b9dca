"""What the tables of read models share: bounded answers, bounded statements, words to search by."""
