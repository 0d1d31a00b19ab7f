//! Leases of dnsmasq, Kea, ISC's dhcpd and busybox's udhcpd: every scenario with every server.

use home::dhcp::{Brand, Setup};
use home::leasing::{scenarios, with_every_server, with_server};

/// T1 comes soon, T2 some time later, and the expiry so late that a server has plenty of time to come back.
fn renewed_soon() -> Setup {
    Setup { renewal: Some((5, 20)), ..Setup::default() }
}

#[test]
fn the_servers_table_has_the_container_by_name_and_mac() {
    with_every_server("servers, first", &Setup::default(), scenarios::first_lease);
}

#[test]
fn the_routers_dns_answers_for_the_container() {
    // It is the only one of the four that is also a DNS server.
    with_server("servers, DNS", Brand::Dnsmasq, &Setup::default(), scenarios::answered_by_dns);
}

#[test]
fn a_container_that_comes_back_asks_for_what_it_had() {
    with_every_server("servers, back", &Setup::default(), scenarios::comes_back);
}

#[test]
fn a_host_that_lost_power_comes_back_to_its_leases() {
    with_every_server("servers, reboot", &Setup::default(), scenarios::host_reboot);
}

#[test]
fn a_killed_daemon_loses_no_ping_and_its_successor_renews() {
    with_every_server("servers, killed", &renewed_soon(), scenarios::daemon_killed);
}

#[test]
fn ten_at_once_get_an_address_each() {
    with_every_server("servers, ten", &Setup::default(), scenarios::ten_at_once);
}

#[test]
fn at_t1_the_lease_is_renewed_by_its_own_server() {
    with_every_server("servers, T1", &renewed_soon(), scenarios::renewed_at_t1);
}

#[test]
fn a_server_that_is_down_at_t1_and_back_is_missed_by_nobody() {
    with_every_server("servers, down past T1", &renewed_soon(), scenarios::server_down_past_t1);
}

#[test]
fn a_server_that_is_down_until_the_lease_ends_takes_the_address_with_it() {
    with_every_server(
        "servers, down past expiry",
        &Setup { seconds: 12, ..Setup::default() },
        scenarios::server_down_past_expiry,
    );
}

#[test]
fn a_server_that_lost_its_table_learns_of_the_container_again() {
    with_every_server("servers, table lost", &renewed_soon(), scenarios::lease_file_lost);
}

#[test]
fn a_renumbered_lan_takes_the_container_along() {
    let setup = Setup { seconds: 30, renewal: Some((5, 12)), ..Setup::default() };
    with_every_server("servers, renumbered", &setup, scenarios::renumbered);
}

#[test]
fn an_exhausted_pool_is_said_and_leaves_nothing() {
    let pool = ([192, 168, 88, 100].into(), [192, 168, 88, 100].into());
    with_every_server("servers, exhausted", &Setup { pool, ..Setup::default() }, scenarios::pool_exhausted);
}

#[test]
fn an_address_that_somebody_took_meanwhile_is_declined() {
    with_every_server("servers, squatter before", &Setup::default(), scenarios::squatter_before);
}

#[test]
fn an_address_that_somebody_takes_is_defended_and_renewed() {
    with_every_server("servers, squatter after", &renewed_soon(), scenarios::squatter_after);
}

#[test]
fn a_reservation_is_followed() {
    with_every_server("servers, reserved", &Setup::default(), scenarios::reservation);
}

#[test]
fn through_a_relay_it_is_the_same() {
    with_every_server("servers, relay", &renewed_soon(), scenarios::relayed);
}
