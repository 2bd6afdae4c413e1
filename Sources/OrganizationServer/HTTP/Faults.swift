import HTTPTypes
import Hummingbird
import RegistryAccess

extension Problem {
    /// Mistakes in a document, each with its place.
    ///
    /// - Parameters:
    ///   - what: what the document is not, for example `a policy`.
    ///   - faults: the mistakes; at least one.
    /// - Returns: the refusal.
    static func faults(_ what: String, _ faults: [InvalidPolicy]) -> Problem {
        let count = faults.count == 1 ? "1 mistake" : "\(faults.count) mistakes"
        let first = faults.first.map { ": \($0)" } ?? ""
        var problem = Problem(
            .unprocessableContent,
            .faulty,
            "the body is not \(what), there \(faults.count == 1 ? "is" : "are") \(count)\(first)"
        )
        problem.members = [
            JSONMember(
                "faults",
                .array(
                    faults.map {
                        .object([
                            JSONMember("line", .number("\($0.line)")), JSONMember("column", .number("\($0.column)")),
                            JSONMember("message", .string($0.message)),
                        ])
                    }
                )
            )
        ]
        return problem
    }
}

extension Request {
    /// The body, read strictly.
    ///
    /// - Parameters:
    ///   - limit: the longest body that is read, in bytes.
    ///   - depth: how deep it may nest.
    ///   - read: reads the value.
    /// - Returns: what was read.
    /// - Throws: ``Problem`` with the place of a mistake.
    func readJSON<Value>(
        atMost limit: Int,
        depth: Int,
        _ read: (inout JSONScanner) throws(InvalidJSON) -> Value
    ) async throws -> Value {
        let bytes = Array(try await body.collect(upTo: limit).readableBytesView)
        do throws(InvalidJSON) {
            var scanner = JSONScanner(bytes, limits: StrictJSON.Limits(bytes: limit, depth: depth))
            let value = try read(&scanner)
            try scanner.end()
            return value
        } catch {
            throw Problem.faults(
                "what is read here",
                [InvalidPolicy(line: error.line, column: error.column, message: error.message)]
            )
        }
    }
}
