//! What the command line says, in the language of the user.
//!
//! A message has an id, and a text with places for arguments in each language: `messages/*.ftl`, in the notation of
//! Project Fluent. They are in the program, which is one file. What it writes for programs, and all that the daemon
//! says, is English.

use std::sync::{LazyLock, OnceLock};

use ashore_core::api::explained::Language;
use fluent_bundle::concurrent::FluentBundle;
use fluent_bundle::{FluentArgs, FluentResource, FluentValue};

/// The texts of a language.
type Catalogue = FluentBundle<FluentResource>;

const EN: &str = include_str!("../messages/en.ftl");
const ZH_HANS: &str = include_str!("../messages/zh-Hans.ftl");

static ENGLISH: LazyLock<Catalogue> = LazyLock::new(|| catalogue("en", EN));
static SIMPLIFIED_CHINESE: LazyLock<Catalogue> = LazyLock::new(|| catalogue("zh-Hans", ZH_HANS));

/// The language of this process. Until it is chosen, and in the daemon, it is English.
static SPOKEN: OnceLock<Language> = OnceLock::new();

/// Chooses the language of this process, once.
pub(crate) fn speak(language: Language) {
    // Whoever chose first knew what is read.
    let _ = SPOKEN.set(language);
}

/// The language of this process.
pub(crate) fn spoken() -> Language {
    SPOKEN.get().copied().unwrap_or(Language::English)
}

/// The text of a message: `message!("lab-left-on", what = …, machine = …)`. A number has its plural; everything else
/// is given as text.
macro_rules! message {
    ($id:literal $(, $name:ident = $value:expr)* $(,)?) => {
        $crate::messages::text($id, &[$((stringify!($name), fluent_bundle::FluentValue::from($value))),*])
    };
}
pub(crate) use message;

/// The text of a message in the language of this process.
pub(crate) fn text(id: &str, arguments: &[(&str, FluentValue<'_>)]) -> String {
    text_in(spoken(), id, arguments)
}

/// The text of a message in a language, or in English if there is none. The tests hold that there is.
fn text_in(language: Language, id: &str, arguments: &[(&str, FluentValue<'_>)]) -> String {
    let arguments: FluentArgs<'_> = arguments.iter().cloned().collect();
    let said = |language| {
        let catalogue = of(language);
        let pattern = catalogue.get_message(id)?.value()?;
        let mut errors = Vec::new();
        let said = catalogue.format_pattern(pattern, Some(&arguments), &mut errors).into_owned();
        debug_assert!(errors.is_empty(), "{id}: {errors:?}");
        Some(said)
    };
    said(language).or_else(|| said(Language::English)).unwrap_or_else(|| id.to_owned())
}

fn of(language: Language) -> &'static Catalogue {
    match language {
        Language::English => &ENGLISH,
        Language::SimplifiedChinese => &SIMPLIFIED_CHINESE,
    }
}

fn catalogue(locale: &str, texts: &str) -> Catalogue {
    let mut catalogue = FluentBundle::new_concurrent(vec![locale.parse().expect("it is a locale")]);
    // The marks around arguments are for languages from right to left, and break what is copied.
    catalogue.set_use_isolating(false);
    // What cannot be read is left out, and is said in English or by its id. The tests hold that there is nothing.
    let texts = FluentResource::try_new(texts.to_owned()).unwrap_or_else(|(some, _)| some);
    catalogue.add_resource_overriding(texts);
    catalogue
}

#[cfg(test)]
mod tests;
