"""Code that touches devices, behind the Protocols in `base`. Each Protocol has a simulator that ships."""
