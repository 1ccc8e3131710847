"""What is drawn and asked: consoles, tables, the live screen, pictures, questions, failures."""
