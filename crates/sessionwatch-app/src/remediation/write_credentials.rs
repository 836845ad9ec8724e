//! The credentials of the write role.

use sessionwatch_targets::{address::TargetAddress, capabilities::Capability};

use super::{ActionContext, ActionError};

/// Returns the address with the credentials of the write role.
///
/// # Errors
///
/// Fails if no such credentials are configured, or they are not available on this machine.
pub fn write_address<'a>(context: ActionContext<'a>) -> Result<&'a TargetAddress, ActionError> {
    let target = context.target;
    if let Some(problem) = &target.write_address_problem {
        let problem = problem.message.clone();
        return Err(ActionError::CredentialsMissing { target: target.name.clone(), problem });
    }
    // A database without roles has no separate write role, and an address on the command line serves both.
    let has_roles = target.address.capabilities().supports(Capability::Roles);
    match &target.write_address {
        Some(address) => Ok(address),
        None if target.is_ad_hoc || !has_roles => Ok(&target.address),
        None => Err(ActionError::NoCredentials(target.name.clone())),
    }
}

/// Rejects a change without the credentials of the write role.
///
/// # Errors
///
/// Fails if no such credentials are configured, or they are not available on this machine.
pub fn require_write_credentials(context: ActionContext<'_>) -> Result<(), ActionError> {
    write_address(context).map(drop)
}
