"""`sentinel demo`: the whole appliance on one machine, with a real fault, from real parts."""
