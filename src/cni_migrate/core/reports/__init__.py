"""What people and programs are shown: status, plan, the time that is left."""
