"""Tag readers: 13.56 MHz on the SPI bus, UHF over LLRP, a simulated one, and recordings."""
