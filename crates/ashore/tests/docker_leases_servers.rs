//! Leases of Docker containers: the scenarios of `leases_servers.rs`, each with one of the
//! servers.

use home::dhcp::{Brand, Setup};
use home::leasing::{on_an_engine, scenarios};

/// T1 comes soon, T2 some time later, and the expiry so late that a server has plenty of time to come back.
fn renewed_soon() -> Setup {
    Setup { renewal: Some((5, 20)), ..Setup::default() }
}

#[test]
fn the_servers_table_has_the_container_by_name_and_mac() {
    on_an_engine("docker, servers, first", Brand::Kea, &Setup::default(), scenarios::first_lease);
}

#[test]
fn the_routers_dns_answers_for_the_container() {
    on_an_engine("docker, servers, DNS", Brand::Dnsmasq, &Setup::default(), scenarios::answered_by_dns);
}

#[test]
fn a_container_that_comes_back_asks_for_what_it_had() {
    on_an_engine("docker, servers, back", Brand::Isc, &Setup::default(), scenarios::comes_back);
}

#[test]
fn a_host_that_lost_power_comes_back_to_its_leases() {
    on_an_engine("docker, servers, reboot", Brand::Udhcpd, &Setup::default(), scenarios::host_reboot);
}

#[test]
fn a_killed_daemon_loses_no_ping_and_its_successor_renews() {
    on_an_engine("docker, servers, killed", Brand::Dnsmasq, &renewed_soon(), scenarios::daemon_killed);
}

#[test]
fn at_t1_the_lease_is_renewed_by_its_own_server() {
    on_an_engine("docker, servers, T1", Brand::Kea, &renewed_soon(), scenarios::renewed_at_t1);
}

#[test]
fn a_server_that_is_down_at_t1_and_back_is_missed_by_nobody() {
    on_an_engine("docker, servers, past T1", Brand::Isc, &renewed_soon(), scenarios::server_down_past_t1);
}

#[test]
fn a_server_that_is_down_until_the_lease_ends_takes_the_address_with_it() {
    let setup = Setup { seconds: 12, ..Setup::default() };
    on_an_engine("docker, servers, past expiry", Brand::Udhcpd, &setup, scenarios::server_down_past_expiry);
}

#[test]
fn a_server_that_lost_its_table_learns_of_the_container_again() {
    on_an_engine("docker, servers, table lost", Brand::Dnsmasq, &renewed_soon(), scenarios::lease_file_lost);
}

#[test]
fn a_renumbered_lan_takes_the_container_along() {
    let setup = Setup { seconds: 30, renewal: Some((5, 12)), ..Setup::default() };
    on_an_engine("docker, servers, renumbered", Brand::Kea, &setup, scenarios::renumbered);
}

#[test]
fn an_exhausted_pool_is_said_and_leaves_nothing() {
    let pool = ([192, 168, 88, 100].into(), [192, 168, 88, 100].into());
    let setup = Setup { pool, ..Setup::default() };
    on_an_engine("docker, servers, exhausted", Brand::Isc, &setup, scenarios::pool_exhausted);
}

#[test]
fn an_address_that_somebody_took_meanwhile_is_declined() {
    on_an_engine("docker, servers, squatter", Brand::Dnsmasq, &Setup::default(), scenarios::squatter_before);
}

#[test]
fn an_address_that_somebody_takes_is_defended_and_renewed() {
    on_an_engine("docker, servers, taken", Brand::Kea, &renewed_soon(), scenarios::squatter_after);
}

#[test]
fn a_reservation_is_followed() {
    on_an_engine("docker, servers, reserved", Brand::Isc, &Setup::default(), scenarios::reservation);
}

#[test]
fn through_a_relay_it_is_the_same() {
    on_an_engine("docker, servers, relay", Brand::Udhcpd, &renewed_soon(), scenarios::relayed);
}
