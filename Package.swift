// swift-tools-version: 6.2
import PackageDescription

let settings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
]

let package = Package(
    name: "docker-ram",
    products: [
        .executable(name: "docker-ram", targets: ["CommandLinePlugin"]),
        .executable(name: "docker-credential-ram", targets: ["CredentialHelper"]),
        .executable(name: "docker-ramd", targets: ["EnforcementDaemon"]),
        .executable(name: "docker-ram-server", targets: ["OrganizationServer"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.6"),
        .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1"),
        .package(url: "https://github.com/hummingbird-project/swift-mustache", from: "2.1.1"),
        .package(url: "https://github.com/swift-server/async-http-client", from: "1.37.0"),
    ],
    targets: [
        // The rule. Imports nothing.
        .target(
            name: "RegistryAccess",
            resources: [.embedInCode("RegistryPacks.json")],
            swiftSettings: settings
        ),
        // The files that we and Docker keep on a machine.
        .target(name: "LocalInstallation", dependencies: ["RegistryAccess"], swiftSettings: settings),
        // How a policy travels: envelopes, keys, versions, freshness. No files, no network.
        .target(
            name: "SignedPolicy",
            dependencies: ["RegistryAccess", .product(name: "Crypto", package: "swift-crypto")],
            swiftSettings: settings
        ),
        // The server's HTTP API as the client sees it.
        .target(
            name: "OrganizationClient",
            dependencies: [
                "RegistryAccess",
                "SignedPolicy",
                .product(name: "AsyncHTTPClient", package: "async-http-client"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOSSL", package: "swift-nio-ssl"),
            ],
            swiftSettings: settings
        ),
        // What is called of the Secret Service library. It is loaded only when it is needed, so nothing is linked.
        .systemLibrary(name: "CLibSecret"),

        // What somebody types on a terminal that must not show it.
        .target(name: "TerminalInput", swiftSettings: settings),

        .executableTarget(
            name: "CommandLinePlugin",
            dependencies: [
                "LocalInstallation",
                "OrganizationClient",
                "RegistryAccess",
                "SignedPolicy",
                "TerminalInput",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: settings
        ),
        .executableTarget(
            name: "CredentialHelper",
            dependencies: ["CLibSecret", "LocalInstallation", "RegistryAccess"],
            swiftSettings: settings
        ),
        .executableTarget(
            name: "EnforcementDaemon",
            dependencies: [
                "LocalInstallation",
                "OrganizationClient",
                "RegistryAccess",
                "SignedPolicy",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
            ],
            swiftSettings: settings
        ),
        .executableTarget(
            name: "OrganizationServer",
            dependencies: [
                "RegistryAccess",
                "SignedPolicy",
                "TerminalInput",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "AsyncHTTPClient", package: "async-http-client"),
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "CryptoExtras", package: "swift-crypto"),
                .product(name: "GRDB", package: "GRDB.swift"),
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "HummingbirdTLS", package: "hummingbird"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "Mustache", package: "swift-mustache"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
            ],
            resources: [
                .embedInCode("Dashboard/Files"),
                .embedInCode("HTTP/OpenAPI.json"),
                .embedInCode("SignIn/CommonPasswords.txt"),
            ],
            swiftSettings: settings
        ),

        .target(
            name: "TestSupport",
            dependencies: ["RegistryAccess", "SignedPolicy", .product(name: "Crypto", package: "swift-crypto")],
            path: "Tests/TestSupport",
            swiftSettings: settings
        ),
        .testTarget(
            name: "RegistryAccessTests",
            dependencies: ["RegistryAccess", "TestSupport"],
            exclude: ["Fixtures"],
            swiftSettings: settings
        ),
        .testTarget(
            name: "LocalInstallationTests",
            dependencies: ["LocalInstallation", "RegistryAccess", "TestSupport"],
            swiftSettings: settings
        ),
        .testTarget(
            name: "SignedPolicyTests",
            dependencies: ["RegistryAccess", "SignedPolicy", "TestSupport"],
            swiftSettings: settings
        ),
        .testTarget(
            name: "OrganizationServerTests",
            dependencies: [
                "OrganizationServer",
                "RegistryAccess",
                "SignedPolicy",
                "TestSupport",
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "CryptoExtras", package: "swift-crypto"),
                .product(name: "GRDB", package: "GRDB.swift"),
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "HummingbirdTesting", package: "hummingbird"),
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: settings
        ),
        .testTarget(
            name: "CredentialHelperTests",
            dependencies: ["CredentialHelper", "LocalInstallation", "RegistryAccess", "TestSupport"],
            swiftSettings: settings
        ),
        .testTarget(
            name: "EnforcementDaemonTests",
            dependencies: [
                "EnforcementDaemon",
                "LocalInstallation",
                "OrganizationClient",
                "RegistryAccess",
                "SignedPolicy",
                "TestSupport",
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
            ],
            swiftSettings: settings
        ),
        .testTarget(
            name: "CommandLinePluginTests",
            dependencies: ["CommandLinePlugin", "LocalInstallation", "RegistryAccess", "SignedPolicy", "TestSupport"],
            exclude: ["Transcripts"],
            swiftSettings: settings
        ),
        .executableTarget(
            name: "Benchmarks",
            dependencies: [
                "OrganizationClient",
                "RegistryAccess",
                "SignedPolicy",
                "TestSupport",
                .product(name: "AsyncHTTPClient", package: "async-http-client"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOSSL", package: "swift-nio-ssl"),
            ],
            path: "Tests/Benchmarks",
            exclude: ["run"],
            swiftSettings: settings
        ),
        .testTarget(
            name: "EndToEndTests",
            dependencies: ["LocalInstallation", "RegistryAccess", "SignedPolicy", "TestSupport"],
            swiftSettings: settings
        ),
    ]
)
