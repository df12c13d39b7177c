//! What tenants may ask for, and how much of it.

pub mod tenants;
