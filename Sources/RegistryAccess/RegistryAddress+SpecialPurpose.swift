extension RegistryAddress {
    /// Whether the host is an IP address that no registry of an organization has: loopback, link-local (where clouds
    /// keep their metadata), multicast, "this network", reserved, or an IPv6 address that stands for one of these; and the
    /// few addresses of other networks at which clouds answer with the secrets of a machine.
    ///
    /// Addresses of private networks are not among them: many companies keep their registry there. Source: RFC 6890
    /// and the IANA registries of special-purpose addresses; RFC 6052 and RFC 3056 for IPv4 addresses inside of IPv6.
    public var isSpecialPurpose: Bool {
        switch kind {
        case .name: false
        case .ipv4(let address): Self.isSpecialPurpose(address)
        case .ipv6(let high, let low):
            switch (high, low) {
            // fe80::/10, ff00::/8
            case _ where high >> 54 == 0x3FA || high >> 56 == 0xFF: true
            // ::/96, with ::, ::1 and the old IPv4-compatible addresses
            case _ where high == 0 && low >> 32 == 0: true
            // fd00:ec2::254, the metadata of Amazon's machines
            case _ where high == 0xFD00_0EC2_0000_0000 && low == 0x254: true
            // 64:ff9b::/96
            case _ where high == 0x0064_FF9B_0000_0000 && low >> 32 == 0:
                Self.isSpecialPurpose(UInt32(truncatingIfNeeded: low))
            // 2002::/16
            case _ where high >> 48 == 0x2002: Self.isSpecialPurpose(UInt32(truncatingIfNeeded: high >> 16))
            default: false
            }
        }
    }

    private static func isSpecialPurpose(_ address: UInt32) -> Bool {
        switch address {
        // 100.100.100.200 of Alibaba's clouds, 168.63.129.16 of Microsoft's
        case 0x6464_64C8, 0xA83F_8110: return true
        default: break
        }
        return switch address >> 24 {
        // 224.0.0.0/4 and 240.0.0.0/4 are the last.
        case 0, 127, 224...255: true
        case 169: address >> 16 == 169 << 8 | 254
        default: false
        }
    }
}
