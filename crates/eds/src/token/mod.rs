//! Keys on PKCS #11 tokens: which module or token directory, whose PIN, and what to do when the token says no.

mod args;
mod explain;
mod pins;
mod probe;
mod select;

pub(crate) use args::{
    MODULE_VARIABLE, ModuleArgs, PinArgs, load_module, module_path, open_dir, start_graph,
};
pub(crate) use explain::{refused_pin, said};
pub(crate) use pins::{OfficerPin, Pins};
pub(crate) use probe::probe;
pub(crate) use select::select;
