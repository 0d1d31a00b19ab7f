# What the command line says, in English. Each id is in zh-Hans.ftl too, with the same arguments.

## Explanations of codes, and yes and no

explained-means = means:
explained-helps = helps:
failure-unreachable = The daemon does not run, or its socket is elsewhere.
failure-privilege = This user may not use the daemon's socket.
failure-restricted = The system's settings let no ordinary user do this.
failure-other-version = The client and the daemon are of versions that do not understand each other.
failure-no-answer = The daemon ended in between. Repeating the command is safe.
failure-service = The init system could not start or stop the service.
usage-command = There is no such command, or a word of it is missing.
usage-option = The command has no such option, or there is one word too many.
usage-value = The value is none that counts here.
usage-missing = Something that the command needs is missing.
usage-together = These options exclude each other.
usage-other = The command line is not right.
more = more:
yes-or-no-hint = [Y/n]
yes-or-no = yes or no
no-answer-nothing-done = no answer, and nothing was done

## While a command waits

waits-for-lan = asking the LAN …
waits-for-daemon = waiting for the daemon …

## Columns of tables

column-address = ADDRESS
column-conflicts = CONFLICTS
column-endpoints = ENDPOINTS
column-free = FREE
column-kind = KIND
column-lan-name = LAN NAME
column-mac = MAC
column-name = NAME
column-network = NETWORK
column-of = OF
column-parent = PARENT
column-range = RANGE
column-shim = SHIM
column-source = SOURCE
column-state = STATE
column-subnet = SUBNET

## ashore status, ls and doctor

status-pending = pending changes, which the next reconciliation will make:
status-source-range = range
status-source-fixed = fixed
status-source-engine = engine
status-source-none = none
status-source-no-lease = no lease
status-source-lease = lease
status-source-lease-left = lease, { $span } left
status-stage-reserved = reserved
status-stage-attaching = attaching
status-stage-attached = attached
status-stage-detaching = detaching
status-parents-mac = (parent's)
status-machines = { $many } machines
status-lan-name-of-another = { $name } ({ $wanted } is { $ip }'s)
status-lan-name-other = { $name } ({ $wanted } is another's)
status-lan-name-not-yet = { $name }, not yet
ls-troubles = { $many ->
    [one] { $many } thing needs
   *[other] { $many } things need
} a look: ashore status
doctor-asking = asking the LAN, which takes some seconds …
doctor-well = nothing stands in the way
doctor-well-as-far-as-known = nothing that could be found out stands in the way
doctor-warning = something may break, or needs a look
doctor-broken = something does not work
doctor-fine-addresses = Nobody else has an address of the range.
doctor-fine-bridge = Spanning tree delays nothing on the bridge.
doctor-fine-clock = The time of this host is right.
doctor-fine-dhcp = DHCP servers and the network do not get in each other's way.
doctor-fine-engine = The engine's API can be reached.
doctor-fine-firewall = The host's firewall does not cut the bridge.
doctor-fine-host = The interface that faces the LAN is found.
doctor-fine-ipv6 = IPv6 is on at the parent.
doctor-fine-kernel = The kernel has this kind of link.
doctor-fine-parent = The parent can send and receive.
doctor-fine-plugin = Docker finds Ashore's driver.
doctor-fine-ports = The ports of a container are at its own address on the LAN.
doctor-fine-router = The network's router answers.
doctor-fine-to = The address answers, or is of this host.
doctor-unknown-addresses = Whether the range's addresses are free is not known.
doctor-unknown-dhcp = What DHCP servers hand out is not known.
doctor-unknown-firewall = Whether the host's firewall cuts something is not known.
doctor-unknown-host = More is known only once there is a network.
doctor-unknown-ipv6 = Whether containers can have IPv6 is not known.
doctor-unknown-kernel = The kernel may not have this kind of link.
doctor-unknown-manager = Whether another program manages the link is not known.
doctor-unknown-plugin = Whether Docker finds Ashore's driver is not known.
doctor-unknown-router = Whether the network's router answers is not known.
doctor-unknown-shim = A script seems to give this host access to containers.
doctor-unknown-to = Whether the address answers is not known.

## ashore setup

setup-looking = looking at this host, and asking the LAN's DHCP servers …
setup-parent = { $parent } faces the LAN { $subnet }
setup-router = its router is { $router }
setup-no-router = this host knows no router there
setup-no-server = no DHCP server answered: where its pool is, if there is one, is not known
setup-server-range = the DHCP server { $server } offers from { $first } to { $last }
setup-server-one = the DHCP server { $server } offers { $first }
setup-server-none = the DHCP server { $server } offers nothing
setup-free = free for containers, as far as was seen: { $range }
setup-no-range = no range beside the pool was found; the router can hand out the addresses
setup-legend = # for containers  p offered by DHCP  R router  H this host  N other network
setup-each-sign = each sign stands for { $each } addresses
setup-name = name of the network
setup-addresses = addresses from that range (yes), or leases of the router (no)?
setup-maker = made with docker, podman or ashore
setup-makes = this makes the network:
setup-make-now = make it now?
setup-cannot-run = cannot run { $program }: { $error }
setup-not-made = { $program } did not make the network: { $said }; `ashore setup --engine ashore` makes one without an engine
setup-too-old = { $program } is of version { $has }, and makes no network of Ashore's before { $oldest }; without an engine: `ashore setup --engine ashore`
setup-first = the first container:
setup-not-all-works = the network is there, and not all of it works: `ashore doctor { $network }` says why; `{ $maker } network rm { $network }` takes it away again
trial-failed = no container can be attached: { $failure }
trial-address = a container gets an address of the LAN: { $own }
trial-no-address = a container gets an address of the LAN
trial-router = it reaches the router { $router }
trial-host = it reaches this host at { $host }
trial-from-host = this host reaches it at { $own }
trial-to = it reaches { $to }
trial-no-answer = { $what }: no answer
trial-left = the endpoint `ashore-setup` was not taken away again: { $failure }

## ashore lab

lab-introduction =
    A home LAN in network namespaces of its own, 192.168.88.0/24: a switch, a router
    (.1), a laptop (.50), a TV (.66), two NAS hosts (nas1 .9, nas2 .10), containers.
    Nothing outside of it is touched.
lab-introduction-vlan =
    VLAN 200 is on the same cables: the router is 10.0.200.1 in it, and a camera
    (.50) and one more container are only in it.
lab-own-container = { $name } (its own container)
lab-own-host = { $name } (its own host)
lab-same-host = { $name } (same host)
lab-other-host = { $name } (other host)
lab-without-ashore = { $name } (without Ashore)
lab-with-ashore = { $name } (with Ashore)
lab-lan-to-vlan = { $name } (LAN to VLAN)
lab-vlan-to-lan = { $name } (VLAN to LAN)
lab-same-host-lan-to-vlan = { $name } (same host, LAN to VLAN)
lab-not-as-expected = NOT AS EXPECTED
lab-no-answer = no answer
lab-scene-before = Before: a plain macvlan. The LAN reaches the container, its own host does not.
lab-scene-host = With Ashore: the same host, the same LAN, and nobody is left out.
lab-scene-next-container = The next container, and what it would change, which anybody may see before:
lab-scene-lan = Everybody else on the LAN, and the containers of another host:
lab-scene-theft =
    A thief: the TV claims the addresses of plain and web, by gratuitous ARP.
    A laptop that believes it sends to the TV, which does not answer.
lab-thief-is-tv = { $mac } is the TV.
lab-theft-not-told = nas1 does not tell that { $mac } claims the address of `web`
lab-scene-cable = The cable of nas1 is pulled …
lab-scene-cable-back = … and put back. Nobody does anything else.
lab-scene-vlan = VLAN 200, on the same cables:
lab-scene-vlan-contrast = For contrast, while the router forwards nothing:
lab-taken-away = Taken away: no link, route or address of Ashore's is left on nas1 and nas2.
lab-taken-away-vlan = eth0.200 on nas1 is gone as well: it was created and removed with the network.
lab-summary = { $good } of { $all } as expected, in { $seconds } s; nothing is left
lab-summary-left = { $good } of { $all } as expected, in { $seconds } s; something is left
lab-next = On your NAS:
lab-left = left behind: { $what }
lab-left-on = { $what } on { $machine }
lab-not-every-row = not every row is as expected
lab-keep = The lab runs until you enter an empty line. Enter a machine's name for a shell:
lab-keep-status = On nas1, `ashore status` asks the daemon of that host.
lab-keep-prompt = machine
lab-keep-no-machine = there is no `{ $name }`
