/// Every fault of a policy document, where the reader of policies stops at the first.
///
/// Each key at the top and each registry is read once more in a document of its own that is otherwise in order, and
/// the place of a fault is moved back to where it stands.
package enum PolicyFaults {
    /// The faults in the order in which they stand.
    ///
    /// - Parameter bytes: the document.
    /// - Returns: at most one fault for each key at the top and each registry; nothing if the document is not JSON.
    package static func all(in bytes: [UInt8]) -> [InvalidPolicy] {
        guard let parts = JSONOutline(bytes) else { return [] }
        var faults: [InvalidPolicy] = []
        for member in parts.members {
            if member.name == "registries", let elements = member.elements {
                let before = "\"version\":1,\"organization\":\"a\",\"registries\":["
                for element in elements where faults.count < most {
                    faults += fault(in: bytes, element, before: before, after: "]")
                }
            } else {
                let others = required.filter { $0.name != member.name }.map { ",\($0.text)" }.joined()
                faults += fault(in: bytes, member.range, before: "", after: others)
            }
        }
        return faults
    }

    /// More than these nobody reads, and each takes a walk through the document.
    static let most = 100

    private static let required = [
        (name: "version", text: "\"version\":1"), (name: "organization", text: "\"organization\":\"a\""),
        (name: "registries", text: "\"registries\":[]"),
    ]

    private static func fault(in bytes: [UInt8], _ range: Range<Int>, before: String, after: String) -> [InvalidPolicy]
    {
        let document = Array("{\(before)\n".utf8) + bytes[range] + Array("\n\(after)}".utf8)
        do throws(InvalidPolicy) {
            _ = try AccessPolicy(json: document)
            return []
        } catch {
            // The part begins on the second line of its document.
            let lines = bytes[..<range.lowerBound]
            let line = lines.count { $0 == 0x0A } + 1
            let column = lines.count - (lines.lastIndex(of: 0x0A).map { $0 + 1 } ?? 0)
            return [
                InvalidPolicy(
                    line: line + max(0, error.line - 2),
                    column: error.line == 2 ? column + error.column : error.column,
                    message: error.message
                )
            ]
        }
    }
}

extension InvalidPolicy {
    /// This fault, which is the first that was found in a document, with all others.
    ///
    /// - Parameter bytes: the document.
    /// - Returns: the faults in the order in which they stand.
    package func all(in bytes: [UInt8]) -> [InvalidPolicy] {
        let all = PolicyFaults.all(in: bytes)
        return all.isEmpty ? [self] : all
    }
}
