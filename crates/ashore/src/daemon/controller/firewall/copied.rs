//! How a firewall is made to treat the shim as the parent, of which it accepts some alone: each of its rules about the parent
//! is put right before itself once more, about the shim. Behind the same rules as the parent's, it lets no more in.
//!
//! What is in a rule, such as a comment, is whoever's who made the rule. It is never a command, and no line of a comment is
//! taken for a rule.

use ashore_core::net::family::Family;
use ashore_core::net::name::IfName;
use ashore_core::net::remedy::Remedy;
use ashore_core::net::text::Word;
use ashore_kernel::{Apart, Rules};

use super::{Cut, FIREWALLD, inserts, iptables_of, is_plain};

/// `None` if nothing has to be copied, or if the firewall is firewalld, which has a word for it.
pub(super) fn copied(
    cut: &Cut,
    family: Family,
    [parent, shim]: [&IfName; 2],
    hook: &str,
    option: &str,
) -> Option<Remedy> {
    let apart = cut.copied.as_ref()?;
    if matches!(&cut.by, Rules::Nftables { table, .. } if table == FIREWALLD) {
        return None;
    }
    let links = [parent, shim].map(IfName::as_str);
    let commands = if let Some(program) = iptables_of(&cut.by, family) {
        by_iptables(&cut.by, apart.iter(), &program, links, hook, option)
    } else {
        apart.iter().filter(|apart| is_of(apart, &cut.by)).map(|apart| by_nft(apart, links)).collect()
    };
    let commands = commands.filter(|all| !all.is_empty() && links.into_iter().all(is_plain));
    Some(match commands {
        Some(commands) => Remedy::from("the same rules for the shim as for the parent: ")
            .and_run(commands.join(" && ")),
        None => format!(
            "let the rules about `{parent}` be about `{shim}` too, and those about all but `{parent}` spare it"
        )
        .into(),
    })
}

/// Whether that is in the table of these rules. Of what is in another one, the doctor tells afterwards.
fn is_of(apart: &Apart, by: &Rules) -> bool {
    let (Apart::Chain(of, within, _) | Apart::Other(of, within, _) | Apart::Set(of, within, _)) = apart;
    matches!(by, Rules::Nftables { family, table, .. } if family == of && table == within)
}

/// Each command is for a whole table. `None` if no command helps.
fn by_iptables<'a>(
    by: &Rules,
    apart: impl Iterator<Item = &'a Apart>,
    program: &str,
    [parent, shim]: [&str; 2],
    hook: &str,
    option: &str,
) -> Option<Vec<String>> {
    /// Numbers the rules of each chain, because a copy is put in at the number of its rule. A comment may have several lines,
    /// with quotes, in which a backslash quotes a quote. `-i` is before all that has quotes.
    const COPIES: &str = r#"function odd(s){gsub(/\\./,"",s);return gsub(/"/,"",s)%2}BEGIN{print"*filter"}{while(odd($0)&&(getline m)>0)$0=$0" "m}/^-A/{c=$2;n[c]++;if(/^-A [^"]*[^!] FROM /){sub(/ FROM /," TO ");print"-I",c,(n[c]+k[c]++)substr($0,length(c)+4)}}END{print"COMMIT"}"#;
    let chains = apart.filter(|apart| is_of(apart, by)).map(|apart| match apart {
        Apart::Chain(_, _, chain) => Some(chain.as_str()),
        Apart::Other(..) | Apart::Set(..) => None,
    });
    let mut chains: Vec<&str> = chains.collect::<Option<_>>()?;
    if chains.is_empty() {
        chains.push(hook);
    }
    let listed: Vec<String> =
        chains.iter().map(|chain| format!("{program} -S {}", Word(chain.as_bytes()))).collect();
    let listed = match listed.as_slice() {
        [one] => one.clone(),
        all => format!("{{ {}; }}", all.join("; ")),
    };
    let of = |link: &str| format!("{option} {link}");
    let copies = COPIES.replace("FROM", &of(&parent.replace('.', "[.]"))).replace("TO", &of(shim));
    Some(vec![format!("{listed} | awk '{copies}' | {program}-restore --noflush")])
}

/// `None` if no command helps.
fn by_nft(apart: &Apart, [parent, shim]: [&str; 2]) -> Option<String> {
    /// A comment may have several lines, and no quotes. A rule has its handle behind it.
    const COPIES: &str = r#":a;$!{/^[^"]*\("[^"]*"[^"]*\)*$/!{N;ba;};};/[io]if\(name\)* \({[^}]*\)*"FROM"/{s/"FROM"/"TO"/g;s/^[[:space:]]*\([^"]*\("[^"]*"[^"]*\)*\) # handle \([0-9]*\)$/INSERTS handle \3 \1/p;}"#;
    match apart {
        Apart::Chain(family, table, chain) => {
            inserts(family, table, chain)?;
            let copies = COPIES
                .replace("FROM", &parent.replace('.', "[.]"))
                .replace("TO", shim)
                .replace("INSERTS", &format!("insert rule {family} {table} {chain}"));
            Some(format!("nft -a list chain {family} {table} {chain} | sed -n '{copies}' | nft -f -"))
        }
        Apart::Set(family, table, set) => [table, set]
            .into_iter()
            .all(|name| is_plain(name))
            .then(|| format!("nft add element {family} {table} {set} {{ {shim} }}")),
        Apart::Other(..) => None,
    }
}
