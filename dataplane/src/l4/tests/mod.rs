//! Two hosts on a virtual wire, in virtual time: what one core's TCP does, observed from outside.

mod bulk;
mod close;
mod echo;
mod hostile;
mod merged;
mod open;
mod path;
mod repair;
mod rest;
mod world;
