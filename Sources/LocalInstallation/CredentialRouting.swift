public import RegistryAccess

/// Where docker-credential-ram keeps whose credentials: `ram.json` beside Docker's own `config.json`.
///
/// ```json
/// {
///   "store": "keyring",
///   "helpers": [{ "address": "**.dkr.ecr.eu-west-1.amazonaws.com", "helper": "ecr-login" }]
/// }
/// ```
///
/// | key | type | default | meaning |
/// |---|---|---|---|
/// | `store` | text | `keyring` | where everything is kept that no helper is named for |
/// | `helpers` | list | empty | other stores for some registries; the most specific pattern decides |
/// | `helpers[].address` | pattern | | see ``AddressPattern`` |
/// | `helpers[].helper` | text | | `keyring`, or the end of another helper's name |
///
/// Docker's own `credHelpers` knows exact host names only; patterns are what this file adds.
public struct CredentialRouting: Sendable, Equatable {
    /// A place that keeps credentials.
    public enum Store: Sendable, Hashable {
        /// The Secret Service.
        case keyring
        /// Another credential helper.
        case helper(HelperName)

        /// Reads `keyring` or the end of a helper's name.
        ///
        /// - Parameter text: for example `pass`.
        /// - Throws: ``InvalidHelperName``.
        public init(_ text: String) throws(InvalidHelperName) {
            self = text.utf8.elementsEqual("keyring".utf8) ? .keyring : .helper(try HelperName(text))
        }

        /// As it stands in the file.
        public var text: String {
            switch self {
            case .keyring: "keyring"
            case .helper(let name): name.description
            }
        }
    }

    /// A store for some registries.
    public struct Route: Sendable, Hashable {
        /// Which registries.
        public let pattern: AddressPattern
        /// What keeps their credentials.
        public let store: Store

        /// A store for some registries.
        ///
        /// - Parameters:
        ///   - pattern: which registries.
        ///   - store: what keeps their credentials.
        public init(_ pattern: AddressPattern, _ store: Store) {
            self.pattern = pattern
            self.store = store
        }
    }

    /// What keeps everything that no route speaks of.
    public let store: Store
    /// The stores for some registries, in the order of the file.
    public let routes: [Route]

    /// A routing.
    ///
    /// - Parameters:
    ///   - store: what keeps everything that no route speaks of.
    ///   - routes: stores for some registries.
    public init(store: Store = .keyring, routes: [Route] = []) {
        self.store = store
        self.routes = routes
    }

    /// The store of a registry's credentials.
    ///
    /// - Parameter address: the registry; `nil` for a server URL that names none.
    /// - Returns: what the most specific route says, the first of equals; otherwise ``store``.
    public func store(for address: RegistryAddress?) -> Store {
        guard let address else { return store }
        var best: Route?
        for route in routes where route.pattern.matches(address) {
            if let found = best, route.pattern.specificity <= found.pattern.specificity { continue }
            best = route
        }
        return best?.store ?? store
    }

    /// Every store that is in use, each once, the default first.
    public var stores: [Store] {
        var stores = [store]
        for route in routes where !stores.contains(route.store) { stores.append(route.store) }
        return stores
    }

    // MARK: - The file

    /// The longest file that is read, in bytes.
    public static let longestDocument = 1 << 20

    /// Where the file is: in `DOCKER_CONFIG`, otherwise in `.docker` in the home directory.
    ///
    /// - Parameter environment: the environment of the process.
    /// - Returns: the path, or `nil` if neither is known.
    public static func path(environment: [String: String]) -> String? {
        if let directory = environment["DOCKER_CONFIG"], !directory.isEmpty { return "\(directory)/ram.json" }
        guard let home = environment["HOME"], !home.isEmpty else { return nil }
        return "\(home)/.docker/ram.json"
    }

    /// Reads the file.
    ///
    /// - Parameter path: where it is.
    /// - Returns: what it says; everything in the keyring if there is no file.
    /// - Throws: ``FileError`` or ``InvalidCredentialRouting``.
    public static func load(_ path: String) throws -> CredentialRouting {
        do {
            return try CredentialRouting(json: try Files.read(path, atMost: longestDocument).bytes)
        } catch let error as FileError where error.isNotFound {
            return CredentialRouting()
        }
    }

    /// Reads the document; unknown or repeated keys refuse it.
    ///
    /// - Parameter json: the bytes.
    /// - Throws: ``InvalidCredentialRouting``.
    public init(json: [UInt8]) throws(InvalidCredentialRouting) {
        let document: JSONValue
        do throws(InvalidJSON) {
            document = try StrictJSON.parse(json, limits: StrictJSON.Limits(bytes: Self.longestDocument))
        } catch {
            throw InvalidCredentialRouting("\(error)")
        }
        guard let members = document.members else { throw InvalidCredentialRouting("expected an object") }
        var store = Store.keyring
        var routes: [Route] = []
        for member in members {
            switch member.name {
            case "store": store = try Self.store(member.value, "\"store\"")
            case "helpers":
                guard let elements = member.value.elements else {
                    throw InvalidCredentialRouting("\"helpers\" must be a list")
                }
                for (index, element) in elements.enumerated() {
                    routes.append(try Self.route(element, "\"helpers[\(index)]\""))
                }
            default:
                throw InvalidCredentialRouting("unknown key \(Self.quoted(member.name)); known are: store, helpers")
            }
        }
        self.init(store: store, routes: routes)
    }

    /// The document that says this.
    public var json: JSONValue {
        .object([
            JSONMember("store", .string(store.text)),
            JSONMember(
                "helpers",
                .array(
                    routes.map {
                        .object([
                            JSONMember("address", .string($0.pattern.description)),
                            JSONMember("helper", .string($0.store.text)),
                        ])
                    }
                )
            ),
        ])
    }

    private static func route(_ value: JSONValue, _ place: String) throws(InvalidCredentialRouting) -> Route {
        guard let members = value.members else { throw InvalidCredentialRouting("\(place) must be an object") }
        var pattern: AddressPattern?
        var store: Store?
        for member in members {
            switch member.name {
            case "address":
                guard let text = member.value.text else {
                    throw InvalidCredentialRouting("\(place): \"address\" must be a text")
                }
                do throws(InvalidAddressPattern) {
                    pattern = try AddressPattern(text)
                } catch {
                    throw InvalidCredentialRouting("\(place): \(quoted(text)) is no address pattern: \(error)")
                }
            case "helper": store = try Self.store(member.value, "\(place): \"helper\"")
            default:
                throw InvalidCredentialRouting(
                    "\(place): unknown key \(quoted(member.name)); known are: address, helper"
                )
            }
        }
        guard let pattern else { throw InvalidCredentialRouting("\(place): the key \"address\" is missing") }
        guard let store else { throw InvalidCredentialRouting("\(place): the key \"helper\" is missing") }
        return Route(pattern, store)
    }

    private static func store(_ value: JSONValue, _ place: String) throws(InvalidCredentialRouting) -> Store {
        guard let text = value.text else { throw InvalidCredentialRouting("\(place) must be a text") }
        do throws(InvalidHelperName) {
            return try Store(text)
        } catch {
            throw InvalidCredentialRouting("\(place): \(error)")
        }
    }

    /// The text in quotes, without anything that a terminal would act on.
    private static func quoted(_ text: String) -> String {
        let shown = text.utf8.prefix(64).map { (0x20..<0x7F).contains($0) ? $0 : UInt8(ascii: "?") }
        return "\"\(String(decoding: shown, as: UTF8.self))\""
    }
}

/// Why `ram.json` is refused.
public struct InvalidCredentialRouting: Error, Equatable, Sendable, CustomStringConvertible {
    /// The place and the fault.
    public let description: String

    init(_ description: String) {
        self.description = description
    }
}

/// The end of another credential helper's name: `pass` for `docker-credential-pass`.
public struct HelperName: Hashable, Sendable, CustomStringConvertible {
    /// The end of the name.
    public let description: String

    /// Reads the end of a helper's name.
    ///
    /// - Parameter text: 1 to 64 letters, digits, `-`, `_` and `.`, the first a letter or a digit; not `ram`.
    /// - Throws: ``InvalidHelperName``.
    public init(_ text: String) throws(InvalidHelperName) {
        guard !text.utf8.elementsEqual("ram".utf8) else { throw .ourselves }
        guard let first = text.utf8.first, Self.isLetterOrDigit(first), text.utf8.count <= 64,
            text.utf8.allSatisfy({ Self.isLetterOrDigit($0) || "-_.".utf8.contains($0) })
        else { throw .malformed }
        description = text
    }

    /// The program that is looked for on the PATH.
    public var program: String { "docker-credential-\(description)" }

    private static func isLetterOrDigit(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        default: false
        }
    }
}

/// Why a text is not the end of a helper's name.
public enum InvalidHelperName: Error, Equatable, Sendable, CustomStringConvertible {
    /// It holds something else than letters, digits, `-`, `_` and `.`, or is empty or too long.
    case malformed
    /// It is docker-credential-ram itself.
    case ourselves

    /// What is wrong, in words.
    public var description: String {
        switch self {
        case .malformed:
            "a helper is named by the end of its program's name: docker-credential-pass is \"pass\""
        case .ourselves: "docker-credential-ram cannot hand on to itself"
        }
    }
}
