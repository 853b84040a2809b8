"""What a report tells, as records and frames; nothing here knows how it is drawn."""
