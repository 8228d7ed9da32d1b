//! WebWire on smol.
