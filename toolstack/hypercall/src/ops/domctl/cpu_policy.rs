//! What CPUID and feature MSRs a domain sees.
