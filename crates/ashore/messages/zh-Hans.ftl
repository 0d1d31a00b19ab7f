# What the command line says, in Simplified Chinese. Each id is in en.ftl too, with the same arguments.

## Explanations of codes, and yes and no

explained-means = 说明：
explained-helps = 办法：
failure-unreachable = 守护进程没有运行，或者它的套接字不在这个路径。
failure-privilege = 当前用户无权使用守护进程的套接字。
failure-restricted = 系统的设置不允许普通用户这么做。
failure-other-version = 客户端和守护进程的版本不兼容。
failure-no-answer = 守护进程中途退出了。把命令再执行一遍不会有问题。
failure-service = init 系统没能启动或停止这个服务。
usage-command = 没有这个命令，或者命令没有写全。
usage-option = 这个命令没有这个选项，或者多写了一个词。
usage-value = 这个值不对，或者写法不对。
usage-missing = 命令还缺少必需的内容。
usage-together = 这些选项不能一起用。
usage-other = 命令写得不对。
more = 详见：
yes-or-no-hint = [是(Y)/否(n)]
yes-or-no = 请回答“是”或“否”，也可以输入 y 或 n
no-answer-nothing-done = 没有回答，什么也没做

## While a command waits

waits-for-lan = 正在询问局域网……
waits-for-daemon = 正在等待守护进程……

## Columns of tables

column-address = 地址
column-conflicts = 冲突
column-endpoints = 端点
column-free = 空闲
column-kind = 类型
column-lan-name = 网内名称
column-mac = MAC
column-name = 名称
column-network = 网络
column-of = 归属
column-parent = 父接口
column-range = 地址段
column-shim = shim
column-source = 来源
column-state = 状态
column-subnet = 子网

## ashore status, ls and doctor

status-pending = 还没做的改动，下一轮校正会做：
status-source-range = 地址段
status-source-fixed = 固定
status-source-engine = 引擎
status-source-none = 无
status-source-no-lease = 没有租约
status-source-lease = 租约
status-source-lease-left = 租约，剩 { $span }
status-stage-reserved = 已预留
status-stage-attaching = 接入中
status-stage-attached = 已接入
status-stage-detaching = 断开中
status-parents-mac = （同父接口）
status-machines = { $many } 台机器
status-lan-name-of-another = { $name }（{ $wanted } 属于 { $ip }）
status-lan-name-other = { $name }（{ $wanted } 已被占用）
status-lan-name-not-yet = { $name }，尚未生效
ls-troubles = 有 { $many } 个问题要看一下：`ashore status`
doctor-asking = 正在询问局域网，要等几秒……
doctor-well = 没有发现问题
doctor-well-as-far-as-known = 能查到的部分没有发现问题
doctor-warning = 有些地方可能出问题，需要看一下
doctor-broken = 有些地方不能正常工作
doctor-fine-addresses = 地址段里的地址没有被别的机器占用。
doctor-fine-bridge = 网桥不会让新容器等待。
doctor-fine-clock = 宿主机的时间已经设好。
doctor-fine-dhcp = DHCP 方面没有冲突，也不缺服务器。
doctor-fine-engine = 容器引擎的 API 连得上。
doctor-fine-firewall = 宿主机的防火墙不会拦截网桥上的数据。
doctor-fine-host = 找到了通往局域网的接口。
doctor-fine-ipv6 = 父接口开着 IPv6。
doctor-fine-kernel = 内核支持这种接口。
doctor-fine-parent = 父接口能收发数据。
doctor-fine-plugin = Docker 找得到 Ashore 的驱动。
doctor-fine-ports = 容器的端口就在它自己的局域网地址上，不需要 `-p`。
doctor-fine-router = 网络的路由器有应答。
doctor-fine-to = 这个地址有应答，或者就在这台宿主机上。
doctor-unknown-addresses = 不知道地址段里的地址有没有被别的机器占用。
doctor-unknown-dhcp = 不知道 DHCP 服务器会分配哪些地址。
doctor-unknown-firewall = 不知道宿主机的防火墙会不会拦截数据。
doctor-unknown-host = 这台宿主机的情况只能查到这里。
doctor-unknown-ipv6 = 不知道容器能不能有 IPv6 地址。
doctor-unknown-kernel = 内核可能不支持这种接口。
doctor-unknown-manager = 不知道有没有别的程序在管理这个接口。
doctor-unknown-plugin = 不知道 Docker 能不能找到 Ashore 的驱动。
doctor-unknown-router = 不知道网络的路由器有没有应答。
doctor-unknown-shim = 好像有脚本在让宿主机访问容器；有了 Ashore 就不需要它了。
doctor-unknown-to = 不知道这个地址有没有应答。

## ashore setup

setup-looking = 正在查看这台宿主机，并询问局域网里的 DHCP 服务器……
setup-parent = { $parent } 通往局域网 { $subnet }
setup-router = 那里的路由器是 { $router }
setup-no-router = 这台宿主机不知道那里的路由器是哪台
setup-no-server = 没有 DHCP 服务器应答：就算有，也不知道它的地址池在哪里
setup-server-range = DHCP 服务器 { $server } 分配 { $first } 到 { $last } 的地址
setup-server-one = DHCP 服务器 { $server } 只提供 { $first }
setup-server-none = DHCP 服务器 { $server } 不提供任何地址
setup-free = 就目前所见，可以留给容器的地址段：{ $range }
setup-no-range = 地址池以外没有找到空闲的地址段；地址可以由路由器来分配
setup-legend = # 留给容器  p 由 DHCP 分配  R 路由器  H 本机  N 其他网络
setup-each-sign = 每个字符代表 { $each } 个地址
setup-name = 网络的名字
setup-addresses = 用这个地址段里的地址（是），还是用路由器的租约（否）？
setup-maker = 用 docker、podman 还是 ashore 来创建
setup-makes = 创建网络的命令是：
setup-make-now = 现在就创建吗？
setup-cannot-run = 无法运行 { $program }：{ $error }
setup-not-made = { $program } 没能创建网络：{ $said }；不用容器引擎也可以建：`ashore setup --engine ashore`
setup-too-old = { $program } 的版本是 { $has }，要 { $oldest } 或更新的版本才能创建 Ashore 的网络；不用容器引擎也可以建：`ashore setup --engine ashore`
setup-first = 第一个容器：
setup-not-all-works = 网络建好了，但有些地方不通：原因看 `ashore doctor { $network }`；要删掉它，用 `{ $maker } network rm { $network }`
trial-failed = 接不上容器：{ $failure }
trial-address = 容器拿到局域网的地址：{ $own }
trial-no-address = 容器拿到局域网的地址
trial-router = 从容器访问路由器 { $router }
trial-host = 从容器访问本机 { $host }
trial-from-host = 从本机访问容器 { $own }
trial-to = 从容器访问 { $to }
trial-no-answer = { $what }：没有应答
trial-left = 没能删掉端点 `ashore-setup`：{ $failure }

## ashore lab

lab-introduction =
    网络命名空间里的一个家庭局域网 192.168.88.0/24：一台交换机、一台路由器（.1）、
    一台笔记本（.50）、一台电视（.66）、两台 NAS（nas1 .9，nas2 .10），还有容器。
    除此以外，什么都不碰。
lab-introduction-vlan =
    同样的网线上还有 VLAN 200：路由器在其中是 10.0.200.1，
    另有一个摄像头（.50）和一个容器只在这个 VLAN 里。
lab-own-container = { $name }（自己的容器）
lab-own-host = { $name }（自己的宿主机）
lab-same-host = { $name }（同一台宿主机）
lab-other-host = { $name }（另一台宿主机）
lab-without-ashore = { $name }（没有 Ashore）
lab-with-ashore = { $name }（有 Ashore）
lab-lan-to-vlan = { $name }（局域网到 VLAN）
lab-vlan-to-lan = { $name }（VLAN 到局域网）
lab-same-host-lan-to-vlan = { $name }（同一台宿主机，局域网到 VLAN）
lab-not-as-expected = 与预期不符
lab-no-answer = 没有应答
lab-scene-before = 没有 Ashore：普通的 macvlan。局域网能访问容器，它自己的宿主机却不能。
lab-scene-host = 有了 Ashore：还是这台宿主机，还是这个局域网，谁都能访问。
lab-scene-next-container = 再接一个容器。它会改动什么，谁都可以事先查看：
lab-scene-lan = 局域网里的其他机器，以及另一台宿主机的容器：
lab-scene-theft =
    有人抢地址：电视发出免费 ARP，声称 plain 和 web 的地址是它的。
    笔记本要是信了，就会把数据发给电视，而电视不会应答。
lab-thief-is-tv = { $mac } 就是那台电视。
lab-theft-not-told = nas1 没有报告 { $mac } 在抢 `web` 的地址
lab-scene-cable = 拔掉 nas1 的网线……
lab-scene-cable-back = ……再插回去，此外什么都不用做。
lab-scene-vlan = 同样的网线上，VLAN 200：
lab-scene-vlan-contrast = 作为对照，路由器停止转发时：
lab-taken-away = 已经清理干净：nas1 和 nas2 上没有留下 Ashore 的任何接口、路由或地址。
lab-taken-away-vlan = nas1 上的 eth0.200 也没有了：它随网络一起创建，也随网络一起删除。
lab-summary = { $all } 项中有 { $good } 项符合预期，用时 { $seconds } 秒；没有残留
lab-summary-left = { $all } 项中有 { $good } 项符合预期，用时 { $seconds } 秒；有残留
lab-next = 接下来，在你的 NAS 上输入：
lab-left = 有残留：{ $what }
lab-left-on = { $machine } 上的 { $what }
lab-not-every-row = 有几项与预期不符
lab-keep = lab 会一直运行，直到你输入空行。输入机器名，可以打开它的 shell：
lab-keep-status = 在 nas1 上，`ashore status` 问的是这台宿主机的守护进程。
lab-keep-prompt = 机器
lab-keep-no-machine = 没有叫 `{ $name }` 的机器
