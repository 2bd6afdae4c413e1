import RegistryAccess

/// The packet filter of lockdown: what the engine's service may open connections to.
///
/// It matches the cgroup of the socket (nftables, `socket cgroupv2`, Linux 5.13), so it holds dockerd and what dockerd
/// starts beside it (`docker-proxy`, git for builds) and no container. The kernel knows a cgroup by a number that
/// systemd gives anew at every start of the service; the rules are therefore loaded again each time.
public struct LockdownRules: Sendable, Equatable {
    /// The nftables table, of the family `inet`.
    public static let table = "docker_ram_lockdown"

    /// An address that the engine may also connect to, as the log server of a log driver.
    public struct Exception: Sendable, Equatable, CustomStringConvertible {
        /// The address in the form in which it is shown.
        public let description: String
        fileprivate let match: String

        /// Reads an address pattern of an address or a network: `10.0.0.5:514`, `10.1.0.0/16:*`, `[fd00::1]:2377`.
        ///
        /// It is `nil` if the text is none, or one of names, which a packet filter does not know.
        ///
        /// - Parameter text: the pattern; without a port it means port 443, as in policies.
        public init?(_ text: String) {
            guard let pattern = try? AddressPattern(text) else { return nil }
            description = pattern.description
            var network: String
            var rest: Substring
            if description.hasPrefix("["), let close = description.firstIndex(of: "]") {
                network = String(description[description.index(after: description.startIndex)..<close])
                rest = description[close...].dropFirst()
                let prefix = rest.prefix { $0 != ":" }
                network += prefix
                rest = rest.dropFirst(prefix.count)
            } else {
                network = String(description.prefix { $0 != ":" })
                rest = description.dropFirst(network.count)
                // The last label of a name is never a number, so these are addresses.
                guard network.utf8.allSatisfy({ (0x30...0x39).contains($0) || $0 == 0x2E || $0 == 0x2F }) else {
                    return nil
                }
            }
            let family = network.contains(":") ? "ip6" : "ip"
            switch rest {
            case ":*": match = "\(family) daddr \(network)"
            case "": match = "\(family) daddr \(network) meta l4proto { tcp, udp } th dport 443"
            default: match = "\(family) daddr \(network) meta l4proto { tcp, udp } th dport \(rest.dropFirst())"
            }
        }
    }

    /// The engine's cgroup below the root of the hierarchy, for example `system.slice/docker.service`.
    public let cgroup: String
    /// What else may be reached.
    public let exceptions: [Exception]
    private let proxy: String

    /// The rules of a machine.
    ///
    /// They are `nil` if the cgroup is not written as it has to be, or the port of the proxy is not fixed.
    ///
    /// - Parameters:
    ///   - cgroup: the engine's cgroup without a slash in front; letters, digits and `.-_@:\` between slashes.
    ///   - listen: where the egress proxy listens: an IP address and a port.
    ///   - exceptions: what else may be reached.
    public init?(cgroup: String, listen: String, exceptions: [Exception] = []) {
        let isWritable = cgroup.utf8.allSatisfy { byte in
            (0x30...0x39).contains(byte) || (0x61...0x7A).contains(byte | 0x20) || "/.-_@:\\".utf8.contains(byte)
        }
        let (host, port) = DaemonSettings.EgressProxy.reached(listening: listen)
        guard !cgroup.isEmpty, !cgroup.hasPrefix("/"), isWritable, port != "0" else { return nil }
        self.cgroup = cgroup
        self.exceptions = exceptions
        let isIPv6 = host.hasPrefix("[")
        let address = isIPv6 ? String(host.dropFirst().dropLast()) : host
        proxy = "\(isIPv6 ? "ip6" : "ip") daddr \(address) tcp dport \(port)"
    }

    /// The file that nft loads; loading it again puts it in the place of what was loaded, in one step.
    public var text: String {
        let level = cgroup.split(separator: "/").count
        let others = exceptions.map { "        \($0.match) accept\n" }.joined()
        return """
            # Written by "docker ram engine lockdown enable"; "docker ram engine lockdown disable" takes it away.
            # Docker's service may open connections to what is accepted here, and to nothing else.
            table inet \(Self.table)
            delete table inet \(Self.table)
            table inet \(Self.table) {
                chain output {
                    # Before Docker's own rules rewrite the address of a published port.
                    type filter hook output priority mangle; policy accept;
                    socket cgroupv2 level \(level) "\(cgroup)" goto engine
                }
                chain engine {
                    # Answers to those who asked first: published ports, the engine's own API.
                    ct direction reply accept
                    # The egress proxy.
                    \(proxy) accept
                    # Names, which the engine looks up for containers; no registry speaks UDP.
                    udp dport 53 accept
                    ip daddr 127.0.0.53 tcp dport 53 accept
                    # Published ports: docker-proxy connects to containers, which lie behind Docker's bridges.
                    oifname "docker0" accept
                    oifname "docker_gwbridge" accept
                    oifname "br-*" accept
            \(others)        limit rate 10/minute log prefix "docker-ram lockdown: "
                    counter reject with icmpx admin-prohibited
                }
            }

            """
    }
}
