/// Which repositories of a registry a rule speaks of.
///
/// | pattern | what it matches |
/// |---|---|
/// | `acme/api` | that repository |
/// | `acme/*` | exactly one component below `acme` |
/// | `acme/**` | one or more components below `acme`, never `acme` itself |
/// | `**` | every repository |
public struct RepositoryPattern: Hashable, Sendable, CustomStringConvertible {
    /// The pattern as it is written.
    public let description: String

    /// Reads a pattern.
    ///
    /// - Parameter text: see the table.
    /// - Throws: ``InvalidRepositoryPattern`` if it is none of these forms or no repository could match it.
    public init(_ text: some StringProtocol) throws(InvalidRepositoryPattern) {
        let bytes = Array(text.utf8)
        guard bytes.count <= 255 else { throw InvalidRepositoryPattern() }
        var components = bytes.split(separator: ASCII.slash, omittingEmptySubsequences: false)
        guard let last = components.last else { throw InvalidRepositoryPattern() }
        let isEverything = components.count == 1 && last.elementsEqual("**".utf8)
        if !isEverything {
            if components.count > 1, last.elementsEqual("*".utf8) || last.elementsEqual("**".utf8) {
                components.removeLast()
            }
            guard components.allSatisfy(ImageReference.isPathComponent) else { throw InvalidRepositoryPattern() }
        }
        description = String(decoding: bytes, as: UTF8.self)
    }

    /// Calls the body with the patterns that could match a repository, the most specific first: as many as it has
    /// components, and two.
    static func forEachCandidate(for repository: String, _ body: (String) -> Void) {
        body(repository)
        var parent = repository.utf8[...]
        var isDirect = true
        while let slash = parent.lastIndex(of: ASCII.slash) {
            parent = parent[..<slash]
            if isDirect { body("\(Substring(parent))/*") }
            body("\(Substring(parent))/**")
            isDirect = false
        }
        body("**")
    }
}

/// A text is not a pattern for repositories.
public struct InvalidRepositoryPattern: Error, Equatable, Sendable, CustomStringConvertible {
    /// What is wrong, in words.
    public var description: String {
        "a repository pattern is a path in lower case that may end in \"/*\" or \"/**\", or \"**\" alone"
    }
}
