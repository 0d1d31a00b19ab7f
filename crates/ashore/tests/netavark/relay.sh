#!/usr/bin/busybox sh
# A netavark plugin that writes down how it was called, in /calls/NUMBER, and gives the answers that Ashore's
# own may give: addresses are its business, and those are.
calls=$(busybox ls /calls | busybox wc -l)
call=/calls/$((1000 + calls))
busybox mkdir "$call.new"
for argument; do echo "$argument"; done > "$call.new/arguments"
busybox env > "$call.new/environment"
busybox cat > "$call.new/input"
said=$(busybox cat "$call.new/input")
busybox mv "$call.new" "$call"
case $1 in
create)
    ours='"ipam_options":{"driver":"ashore"}'
    case $said in
    *'"subnets":'*) ;;
    *) ours=$ours',"subnets":[{"subnet":"192.168.88.0/24","gateway":"192.168.88.1"}]' ;;
    esac
    said=$(echo "$said" | busybox sed 's/,"ipam_options":{[^}]*}//')
    echo "${said%\}},$ours}"
    ;;
setup)
    echo '{"interfaces":{"eth0":{"mac_address":"02:11:22:33:44:55","subnets":[{"ipnet":"192.168.88.192/24","gateway":"192.168.88.1"}]}}}'
    ;;
esac
