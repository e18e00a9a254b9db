//! Roles: what each of the five may do (`table`), and roles of the configuration that see less (`named`).

mod named;
mod table;

pub use named::{NamedRole, RoleError, RoleName, RoleSettings, Roles};
pub use table::{Permission, Role, UnknownRole};
