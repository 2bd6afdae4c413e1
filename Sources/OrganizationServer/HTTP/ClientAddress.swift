import Glibc
import HTTPTypes
import Hummingbird

/// Where requests come from, as far as limits and the activity go by it.
enum ClientAddress {
    /// An address as it is counted: whoever has an IPv6 address has 2^64 of them.
    ///
    /// - Parameter address: an address of IPv4 or IPv6.
    /// - Returns: the address, of IPv6 its first 64 bits; `-` for none.
    static func shortened(_ address: String?) -> String {
        guard let address else { return "-" }
        var parsed = in6_addr()
        guard inet_pton(AF_INET6, address, &parsed) == 1 else {
            var parsed = in_addr()
            return inet_pton(AF_INET, address, &parsed) == 1 ? address : "-"
        }
        let bytes = withUnsafeBytes(of: &parsed) { Array($0) }
        // An IPv4 address in IPv6's clothes is that IPv4 address.
        if bytes[..<10].allSatisfy({ $0 == 0 }), bytes[10] == 255, bytes[11] == 255 {
            return bytes[12...].map(String.init).joined(separator: ".")
        }
        // Of this one there is one.
        if bytes == [UInt8](repeating: 0, count: 15) + [1] { return "::1" }
        let groups = stride(from: 0, to: 8, by: 2).map { index in
            String(UInt16(bytes[index]) << 8 | UInt16(bytes[index + 1]), radix: 16)
        }
        return groups.joined(separator: ":") + "::/64"
    }

    /// What the proxy before the server says of the client: the last entry is the one that the proxy itself wrote.
    ///
    /// - Parameter headers: those of the request.
    /// - Returns: the address; `nil` if the proxy says nothing.
    static func forwarded(_ headers: HTTPFields) -> String? {
        guard let name = HTTPField.Name("X-Forwarded-For"), let last = headers[values: name].last else { return nil }
        let entry = last.split(separator: ",").last.map { $0.filter { $0 != " " } }
        return entry.map { shortened($0) }
    }
}
