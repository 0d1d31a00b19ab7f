//! The language of the user, by the locale.

use ashore_core::api::explained::Language;

/// The language that the environment asks for.
pub(crate) fn of_user() -> Language {
    let value = |name: &str| std::env::var(name).ok();
    // The order in which POSIX has them count. An empty one counts as none.
    let locale =
        ["LC_ALL", "LC_MESSAGES", "LANG"].into_iter().filter_map(value).find(|value| !value.is_empty());
    of_locale(&locale.unwrap_or_default())
}

/// The language of a locale such as `zh_CN.UTF-8`: Simplified Chinese, or English.
fn of_locale(locale: &str) -> Language {
    let (locale, _) = locale.split_once('@').unwrap_or((locale, ""));
    let (name, charset) = locale.split_once('.').unwrap_or((locale, "utf-8"));
    // What is printed is UTF-8. A terminal of another character set shows English all the same.
    let is_utf8 = charset.eq_ignore_ascii_case("utf-8") || charset.eq_ignore_ascii_case("utf8");
    let mut parts = name.split(['_', '-']);
    let is_chinese = parts.next().is_some_and(|language| language.eq_ignore_ascii_case("zh"));
    let is_simplified =
        parts.next().is_some_and(|of| ["CN", "SG", "Hans"].iter().any(|it| of.eq_ignore_ascii_case(it)));
    if is_utf8 && is_chinese && is_simplified { Language::SimplifiedChinese } else { Language::English }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn simplified_chinese_is_chosen_by_its_places_and_by_its_script() {
        for locale in [
            "zh_CN.UTF-8",
            "zh_CN.utf8",
            "zh_CN",
            "zh_SG.UTF-8",
            "zh-Hans",
            "zh_Hans_CN",
            "zh_CN.UTF-8@pinyin",
        ] {
            assert_eq!(of_locale(locale), Language::SimplifiedChinese, "{locale}");
        }
    }

    #[test]
    fn everything_else_is_english() {
        for locale in [
            "",
            "C",
            "C.UTF-8",
            "POSIX",
            "en_US.UTF-8",
            "zh",
            "zh_TW.UTF-8",
            "zh_Hant_TW",
            "zh_CN.GBK",
            "_CN",
        ] {
            assert_eq!(of_locale(locale), Language::English, "{locale}");
        }
    }
}
