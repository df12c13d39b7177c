//! What tenants may ask for, and how much of it.

pub mod prices;
pub mod tenants;
