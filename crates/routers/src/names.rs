//! Parses systems and policies from their names on the command line.

use std::str::FromStr;

use crate::error::RouterError;
use crate::plan::Policy;
use crate::system::System;

impl FromStr for Policy {
    type Err = RouterError;

    fn from_str(text: &str) -> Result<Self, RouterError> {
        let named = Policy::ALL.into_iter().find(|policy| policy.name() == text);
        named.ok_or_else(|| RouterError::UnknownPolicy(text.to_owned()))
    }
}

impl FromStr for System {
    type Err = RouterError;

    fn from_str(text: &str) -> Result<Self, RouterError> {
        let named = System::ALL.into_iter().find(|system| system.name() == text);
        named.ok_or_else(|| RouterError::UnknownSystem(text.to_owned()))
    }
}
