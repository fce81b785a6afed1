"""What boards and links really do: measurements, the doctor."""
