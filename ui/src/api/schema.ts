// Generated from query/openapi.json and gate/openapi.json by `npm run types`; edits are lost.
// source 68f3dc6382d7767b
// body af46c9f567a29452

export type paths = Record<string, never>;
export type webhooks = Record<string, never>;
export interface components {
    schemas: {
        AnyTraceId: string;
        AnySpanId: string;
        /** Format: traceql */
        TraceQl: string;
        /** Format: traceql-series */
        TraceQlSeries: string;
        /** Format: range-time */
        Time: string;
        /** Format: step */
        Step: string;
        TraceId: string;
        SpanId: string;
        SentId: string;
        UnixNano: string;
        Nano: number;
        Count: number;
        /** @enum {string} */
        SpanStatus: "UNSET" | "OK" | "ERROR";
        /** @enum {string} */
        SpanKind: "UNSPECIFIED" | "INTERNAL" | "SERVER" | "CLIENT" | "PRODUCER" | "CONSUMER";
        ErrorCode: string | null;
        AnyValue: {
            stringValue?: string;
            boolValue?: boolean;
            intValue?: string;
            doubleValue?: number | ("NaN" | "Infinity" | "-Infinity");
            arrayValue?: {
                values?: components["schemas"]["AnyValue"][];
            };
            kvlistValue?: {
                values?: components["schemas"]["KeyValues"];
            };
            bytesValue?: string;
        };
        KeyValue: {
            key: string;
            value?: components["schemas"]["AnyValue"];
        };
        KeyValues: components["schemas"]["KeyValue"][];
        AttributeMap: {
            [key: string]: unknown;
        };
        Attributes: components["schemas"]["KeyValues"];
        SpanEvent: {
            timeUnixNano?: components["schemas"]["UnixNano"];
            name?: string;
            attributes?: components["schemas"]["Attributes"];
            droppedAttributesCount?: components["schemas"]["Count"];
            log?: components["schemas"]["SpanLog"];
        };
        SpanLog: {
            severityNumber: components["schemas"]["Count"];
            severityText: string;
            body: unknown;
            observedTimeUnixNano?: components["schemas"]["UnixNano"];
            flags?: components["schemas"]["Count"];
            resource: number;
            scope: number;
            /** @constant */
            alsoEvent?: true;
            spanId?: components["schemas"]["SpanId"];
        };
        SpanLink: {
            traceId?: components["schemas"]["SentId"];
            spanId?: components["schemas"]["SentId"];
            traceState?: string;
            attributes?: components["schemas"]["Attributes"];
            droppedAttributesCount?: components["schemas"]["Count"];
            flags?: components["schemas"]["Count"];
        };
        ServiceCount: {
            name: string;
            spanCount: components["schemas"]["Count"];
            errorCount: components["schemas"]["Count"];
        };
        TraceAnswer: {
            trace: components["schemas"]["Trace"];
        };
        Trace: {
            id: components["schemas"]["TraceId"];
            startUnixNano: components["schemas"]["UnixNano"];
            endUnixNano: components["schemas"]["UnixNano"];
            durationNano: components["schemas"]["Nano"];
            status: components["schemas"]["SpanStatus"];
            errorCode: components["schemas"]["ErrorCode"];
            rootService: string | null;
            rootName: string;
            spanCount: components["schemas"]["Count"];
            errorCount: components["schemas"]["Count"];
            logCount: components["schemas"]["Count"];
            segmentCount: components["schemas"]["Count"];
            foldedSpanCount?: components["schemas"]["Count"];
            services: components["schemas"]["ServiceCount"][];
            warnings: string[];
            resources: (components["schemas"]["Resource"] | null)[];
            scopes: (components["schemas"]["Scope"] | null)[];
            segments: components["schemas"]["Segment"][];
            logs: (components["schemas"]["SpanEvent"] | null)[];
            /** @constant */
            truncated?: true;
            nextCursor?: string;
        };
        Resource: {
            attributes: components["schemas"]["Attributes"];
            schemaUrl: string;
            droppedAttributesCount: components["schemas"]["Count"];
        };
        Scope: {
            name: string;
            version: string;
            attributes: components["schemas"]["Attributes"];
            schemaUrl: string;
        };
        Segment: {
            id: string;
            parentSegmentId: string | null;
            parentSpanId: string | null;
            service: string;
            instance: string | null;
            startUnixNano: components["schemas"]["UnixNano"];
            endUnixNano: components["schemas"]["UnixNano"];
            durationNano: components["schemas"]["Nano"];
            status: components["schemas"]["SpanStatus"];
            errorCode: components["schemas"]["ErrorCode"];
            spanCount: components["schemas"]["Count"];
            errorCount: components["schemas"]["Count"];
            spans: components["schemas"]["Span"][];
        };
        Span: {
            id: components["schemas"]["SpanId"];
            parentId: string | null;
            name: string;
            kind: components["schemas"]["SpanKind"];
            startUnixNano: components["schemas"]["UnixNano"];
            endUnixNano: components["schemas"]["UnixNano"];
            durationNano: components["schemas"]["Nano"];
            selfNano: components["schemas"]["Nano"];
            status: components["schemas"]["SpanStatus"];
            statusMessage: string;
            errorCode: components["schemas"]["ErrorCode"];
            resource: number;
            scope: number;
            attributes: components["schemas"]["Attributes"];
            events: components["schemas"]["SpanEvent"][];
            links: components["schemas"]["SpanLink"][];
            flags: components["schemas"]["Count"];
            foldedSpanCount?: components["schemas"]["Count"];
            folded?: components["schemas"]["FoldedSpan"][];
            traceState: string;
            warnings: string[];
        };
        FoldedSpan: {
            status: components["schemas"]["SpanStatus"];
            errorCode: components["schemas"]["ErrorCode"];
            id: components["schemas"]["SpanId"];
            service: string;
            name: string;
            kind: components["schemas"]["SpanKind"];
            startUnixNano: components["schemas"]["UnixNano"];
            durationNano: components["schemas"]["Nano"];
        };
        OtlpTraces: {
            resourceSpans: components["schemas"]["OtlpResourceSpans"][];
            resourceLogs?: components["schemas"]["OtlpResourceLogs"][];
        };
        OtlpLogs: {
            resourceLogs: components["schemas"]["OtlpResourceLogs"][];
        };
        OtlpResourceLogs: {
            resource?: {
                [key: string]: unknown;
            };
            schemaUrl?: string;
            scopeLogs?: {
                scope?: {
                    [key: string]: unknown;
                };
                schemaUrl?: string;
                logRecords?: {
                    [key: string]: unknown;
                }[];
            }[];
        };
        OtlpResourceSpans: {
            resource?: {
                [key: string]: unknown;
            };
            schemaUrl?: string;
            scopeSpans?: {
                scope?: {
                    [key: string]: unknown;
                };
                schemaUrl?: string;
                spans?: {
                    [key: string]: unknown;
                }[];
            }[];
        };
        JaegerTraces: {
            data: {
                traceID: components["schemas"]["TraceId"];
                spans: components["schemas"]["JaegerSpan"][];
                processes: {
                    [key: string]: components["schemas"]["JaegerProcess"];
                };
                warnings: null;
            }[];
            total: components["schemas"]["Count"];
            limit: components["schemas"]["Count"];
            offset: components["schemas"]["Count"];
            errors: null;
        };
        JaegerSpan: {
            traceID: components["schemas"]["TraceId"];
            spanID: components["schemas"]["SpanId"];
            operationName: string;
            references: {
                /** @enum {string} */
                refType: "CHILD_OF" | "FOLLOWS_FROM";
                traceID: components["schemas"]["SentId"];
                spanID: components["schemas"]["SentId"];
            }[];
            startTime: number;
            duration: number;
            tags: components["schemas"]["JaegerTag"][];
            logs: {
                timestamp: number;
                fields: components["schemas"]["JaegerTag"][];
            }[];
            processID: string;
            warnings: null;
        };
        JaegerProcess: {
            serviceName: string;
            tags: components["schemas"]["JaegerTag"][];
        };
        JaegerTag: {
            key: string;
            /** @enum {string} */
            type: "string" | "bool" | "int64" | "float64" | "binary";
            value: string | boolean | number;
        };
        SearchAnswer: {
            traces: components["schemas"]["TraceSummary"][];
            nextCursor: string | null;
            partial: boolean;
            partialReason?: string;
            scanned: {
                blocks: components["schemas"]["Count"];
                blocksRead: components["schemas"]["Count"];
                spans: components["schemas"]["Count"];
            };
        };
        TraceSummary: {
            id: components["schemas"]["TraceId"];
            rootService: string | null;
            rootName: string;
            startUnixNano: components["schemas"]["UnixNano"];
            durationNano: components["schemas"]["Nano"];
            spanCount: components["schemas"]["Count"];
            errorCount: components["schemas"]["Count"];
            status: components["schemas"]["SpanStatus"];
            errorCode: components["schemas"]["ErrorCode"];
            services: components["schemas"]["ServiceCount"][];
            matchedSpanIds: components["schemas"]["SpanId"][];
            matchedSpanCount: components["schemas"]["Count"];
            spanSets?: components["schemas"]["SpanSet"][];
        };
        Service: {
            name: string;
        };
        Operation: {
            name: string;
            kind: components["schemas"]["SpanKind"];
        };
        ServicesAnswer: {
            services: components["schemas"]["Service"][];
        };
        OperationsAnswer: {
            operations: components["schemas"]["Operation"][];
        };
        NoiseAnswer: {
            traceCount: number;
            spanCount: number;
            bytes: number;
            sampled: boolean;
            services: components["schemas"]["NoiseService"][];
            operations: components["schemas"]["NoiseOperation"][];
            attributes: components["schemas"]["NoiseAttribute"][];
            findings: components["schemas"]["NoiseFinding"][];
            moreFindings: number;
            partial: boolean;
            partialReason?: string;
        };
        NoiseService: {
            service: string;
            spanCount: number;
            bytes: number;
            byteShare: number;
        };
        NoiseOperation: {
            service: string;
            name: string;
            kind: string;
            spanCount: number;
            errorCount: number;
            bytes: number;
            byteShare: number;
        };
        NoiseAttribute: {
            name: string;
            spanCount: number;
            bytes: number;
            byteShare: number;
        };
        NoiseFinding: {
            /** @enum {string} */
            kind: "healthChecks" | "scrapes" | "pings" | "polling" | "names" | "repeated" | "constant" | "personalData";
            service: string;
            subject: string;
            reason: string;
            count: number;
            savedSpans: number;
            savedBytes: number;
            byteShare: number;
            rule: string;
        };
        OperationTable: {
            operations: components["schemas"]["OperationStats"][];
            estimated: boolean;
            partial: boolean;
            partialReason?: string;
        };
        OperationStats: {
            service: string;
            name: string;
            kind: components["schemas"]["SpanKind"];
            requestCount: components["schemas"]["Count"];
            errorCount: components["schemas"]["Count"];
            errorRate: number;
            timeShare: number;
            errorShare: number;
            totalNano: components["schemas"]["Nano"];
            p50Nano: components["schemas"]["Nano"];
            p95Nano: components["schemas"]["Nano"];
            p99Nano: components["schemas"]["Nano"];
            maxNano: components["schemas"]["Nano"];
            exemplarTraceIds: components["schemas"]["TraceId"][];
        };
        SpanPercentile: {
            service: string;
            name: string;
            kind: components["schemas"]["SpanKind"];
            durationNano: components["schemas"]["Nano"];
            slowerThan: number;
            spanCount: components["schemas"]["Count"];
            p50Nano: components["schemas"]["Nano"];
            p95Nano: components["schemas"]["Nano"];
            p99Nano: components["schemas"]["Nano"];
            maxNano: components["schemas"]["Nano"];
            partial: boolean;
            partialReason?: string;
        };
        AggregatesAnswer: {
            stepNano: components["schemas"]["Nano"];
            series: components["schemas"]["Series"][];
            estimated: boolean;
            partial: boolean;
            partialReason?: string;
        };
        FieldValue: string | number | boolean | null;
        FieldValues: {
            [key: string]: components["schemas"]["FieldValue"];
        };
        SpanSet: {
            by: components["schemas"]["FieldValues"];
            values: components["schemas"]["FieldValues"];
            matchedSpanCount: components["schemas"]["Count"];
            spans: components["schemas"]["FoundSpan"][];
        };
        FoundSpan: {
            id: components["schemas"]["SpanId"];
            name: string;
            startUnixNano: components["schemas"]["UnixNano"];
            durationNano: components["schemas"]["Nano"];
            attributes: components["schemas"]["FieldValues"];
        };
        LiveTrace: {
            id: components["schemas"]["TraceId"];
            rootService: string;
            rootName: string;
            startUnixNano: components["schemas"]["UnixNano"];
            durationNano: components["schemas"]["Nano"];
            spanCount: components["schemas"]["Count"];
            errorCount: components["schemas"]["Count"];
            matchedSpanCount: components["schemas"]["Count"];
            spans: components["schemas"]["FoundSpan"][];
        };
        LiveNotice: {
            detail: string;
        };
        MetricsAnswer: {
            stepNano: components["schemas"]["Nano"];
            series: components["schemas"]["MetricsSeries"][];
            estimated: boolean;
            partial: boolean;
            partialReason?: string;
        };
        MetricsSeries: {
            labels: components["schemas"]["FieldValues"];
            points: components["schemas"]["MetricsPoint"][];
            exemplars: components["schemas"]["MetricsExemplar"][];
        };
        MetricsPoint: {
            timeUnixNano: components["schemas"]["UnixNano"];
            value: number;
        };
        MetricsExemplar: {
            traceId: components["schemas"]["TraceId"];
            spanId: components["schemas"]["SpanId"];
            timeUnixNano: components["schemas"]["UnixNano"];
            value: number;
        };
        HistogramAnswer: {
            stepNano: components["schemas"]["Nano"];
            timesUnixNano: components["schemas"]["UnixNano"][];
            buckets: {
                upToNano: number;
                counts: components["schemas"]["Count"][];
            }[];
            partial: boolean;
            partialReason?: string;
        };
        AttributesAnswer: {
            attributes: {
                name: string;
                /** @enum {string} */
                scope: "span" | "resource" | "event" | "link" | "instrumentation";
                types: ("none" | "string" | "bool" | "int" | "double" | "bytes" | "array" | "kvlist")[];
            }[];
        };
        AttributeValuesAnswer: {
            values: {
                /** @enum {string} */
                type: "none" | "bool" | "int" | "double" | "string" | "keyword" | "array";
                value: components["schemas"]["FieldValue"];
                spanCount: components["schemas"]["Count"];
            }[];
            partial: boolean;
            partialReason?: string;
        };
        ComparisonAnswer: {
            attributes: components["schemas"]["ComparedAttribute"][];
            partial: boolean;
            partialReason?: string;
        };
        ComparedAttribute: {
            name: string;
            difference: number;
            selectionCount: components["schemas"]["Count"];
            baselineCount: components["schemas"]["Count"];
            tooManyValues: boolean;
            values: {
                value: components["schemas"]["FieldValue"];
                selectionCount: components["schemas"]["Count"];
                baselineCount: components["schemas"]["Count"];
            }[];
        };
        DependenciesAnswer: {
            edges: components["schemas"]["DependencyEdge"][];
            workloads?: components["schemas"]["DependencyWorkload"][];
            partial: boolean;
        };
        DependencyWorkload: {
            name: string;
            namespace: string;
            services: string[];
        };
        DependencyEdge: {
            caller: string;
            callee: string;
            /** @enum {string} */
            kind: "rpc" | "messaging" | "database" | "virtual";
            callCount: components["schemas"]["Count"];
            errorCount: components["schemas"]["Count"];
            p50Nano: components["schemas"]["Nano"];
            p95Nano: components["schemas"]["Nano"];
            p99Nano: components["schemas"]["Nano"];
            exemplarTraceIds: components["schemas"]["TraceId"][];
        };
        MeshEdgesAnswer: {
            edges: components["schemas"]["MeshEdge"][];
            proxySpanCount: components["schemas"]["Count"];
            partial: boolean;
            partialReason?: string;
        };
        MeshEdge: {
            caller: components["schemas"]["MeshParty"];
            callee: components["schemas"]["MeshParty"];
            client: components["schemas"]["MeshSide"];
            server: components["schemas"]["MeshSide"];
            attempts: components["schemas"]["MeshAttempts"];
            subsets: components["schemas"]["MeshSubset"][];
            instances: components["schemas"]["MeshInstance"][];
            versions: components["schemas"]["MeshGroup"][];
            zones: components["schemas"]["MeshGroup"][];
            balance: components["schemas"]["MeshBalance"];
            retries: components["schemas"]["MeshRetries"];
            timeline?: components["schemas"]["MeshTimeline"];
        };
        MeshTimeline: {
            stepNano: components["schemas"]["Nano"];
            points: components["schemas"]["MeshPoint"][];
            shifts: components["schemas"]["MeshShift"][];
        };
        MeshPoint: {
            startUnixNano: components["schemas"]["UnixNano"];
            instances: components["schemas"]["MeshShare"][];
        };
        MeshShare: {
            instance: string;
            zone: string | null;
            attemptCount: components["schemas"]["Count"];
        };
        MeshShift: {
            /** @enum {string} */
            change: "left" | "returned" | "joined";
            instance: string;
            startUnixNano: components["schemas"]["UnixNano"];
            attemptCount: components["schemas"]["Count"];
            attemptCountOfAll: components["schemas"]["Count"];
            attemptsWithout: components["schemas"]["Count"];
            settled: boolean;
            others: components["schemas"]["MeshShare"][];
            text: string;
        };
        MeshHopsAnswer: {
            traceId: components["schemas"]["TraceId"];
            proxySpanCount: components["schemas"]["Count"];
            hops: components["schemas"]["MeshHop"][];
            partial: boolean;
            partialReason?: string;
        };
        MeshHop: {
            caller: components["schemas"]["MeshParty"];
            callee: components["schemas"]["MeshParty"];
            inside: number | null;
            startUnixNano: components["schemas"]["UnixNano"];
            durationNano: components["schemas"]["Nano"];
            outcome: components["schemas"]["MeshOutcome"];
            /** @enum {string} */
            toldBy: "caller" | "callee";
            attemptCount: components["schemas"]["Count"];
            unseenAttemptCount: components["schemas"]["Count"];
            attempts: components["schemas"]["MeshAttempt"][];
            times: components["schemas"]["MeshPart"][];
            story: string;
            spanIds: components["schemas"]["SpanId"][];
        };
        MeshOutcome: {
            code: number | null;
            grpcCode?: number;
            /** @enum {string} */
            class: "ok" | "client-error" | "injected" | "abandoned" | "error";
            flags: string;
            meanings: components["schemas"]["MeshMeaning"][];
        };
        MeshAttempt: {
            madeSpanId: components["schemas"]["SpanId"] | null;
            reachedSpanId: components["schemas"]["SpanId"] | null;
            instance: string | null;
            zone: string | null;
            startUnixNano: components["schemas"]["UnixNano"];
            durationNano: components["schemas"]["Nano"];
            outcome: components["schemas"]["MeshOutcome"];
        };
        MeshPart: {
            /** @enum {string} */
            part: "toProxy" | "earlierAttempts" | "callerProxy" | "network" | "callerProxyAndNetwork" | "calleeProxy" | "app" | "calleeProxyAndApp";
            durationNano: components["schemas"]["Nano"];
        };
        MeshParty: {
            /** @enum {string} */
            kind: "workload" | "address" | "noRoute" | "unknown";
            name: string;
            namespace: string;
            services?: string[];
        };
        MeshSide: {
            requestCount: components["schemas"]["Count"];
            errorCount: components["schemas"]["Count"];
            clientErrorCount: components["schemas"]["Count"];
            injectedCount: components["schemas"]["Count"];
            abandonedCount: components["schemas"]["Count"];
            p50Nano: components["schemas"]["Nano"];
            p95Nano: components["schemas"]["Nano"];
            p99Nano: components["schemas"]["Nano"];
            codes: components["schemas"]["MeshCode"][];
            flags: components["schemas"]["MeshFlags"][];
        };
        MeshCode: {
            code: number;
            requestCount: components["schemas"]["Count"];
        };
        MeshFlags: {
            flags: string;
            requestCount: components["schemas"]["Count"];
            meanings: components["schemas"]["MeshMeaning"][];
        };
        MeshMeaning: {
            flag: string;
            meaning: string;
            /** @enum {string} */
            causedBy: "caller" | "callee" | "mesh" | "injected";
        };
        MeshAttempts: {
            count: components["schemas"]["Count"];
            mostOfOneRequest: components["schemas"]["Count"];
            retriedRequestCount: components["schemas"]["Count"];
            failedOverRequestCount: components["schemas"]["Count"];
            unseenCount: components["schemas"]["Count"];
            requestsWithoutCaller: components["schemas"]["Count"];
            knownZonesCount: components["schemas"]["Count"];
            crossZoneCount: components["schemas"]["Count"];
        };
        MeshSubset: {
            subset: string;
            requestCount: components["schemas"]["Count"];
        };
        MeshInstance: {
            instance: string;
            zone: string | null;
            revision: string | null;
            firstAttemptCount: components["schemas"]["Count"];
            retryCount: components["schemas"]["Count"];
            unorderedCount: components["schemas"]["Count"];
            seen: components["schemas"]["MeshSide"];
        };
        MeshBalance: {
            /** @enum {string} */
            verdict: "oneInstance" | "tooFew" | "agrees" | "uneven";
            /** @enum {unknown} */
            policy: "roundRobin" | "weighted" | "leastRequest" | "leastResponseTime" | null;
            text: string;
            policies: components["schemas"]["MeshPolicy"][];
        };
        MeshGroup: {
            name: string;
            seen: components["schemas"]["MeshSide"];
        };
        MeshPolicy: {
            /** @enum {string} */
            policy: "roundRobin" | "weighted" | "leastRequest" | "leastResponseTime";
            /** @enum {string} */
            fit: "agrees" | "ruledOut" | "tooFew";
            neededCount?: components["schemas"]["Count"];
            expected: components["schemas"]["MeshExpected"][];
        };
        MeshExpected: {
            instance: string;
            expectedFirstAttemptCount: number;
        };
        MeshRetries: {
            extraAttemptCount: components["schemas"]["Count"];
            extraNano: components["schemas"]["Nano"];
            rescuedRequestCount: components["schemas"]["Count"];
            failedRequestCount: components["schemas"]["Count"];
            storms: components["schemas"]["MeshStorm"][];
        };
        MeshStorm: {
            startUnixNano: components["schemas"]["UnixNano"];
            endUnixNano: components["schemas"]["UnixNano"];
            requestCount: components["schemas"]["Count"];
            attemptCount: components["schemas"]["Count"];
            extraNano: components["schemas"]["Nano"];
            text: string;
        };
        Labels: {
            service?: string;
            operation?: string;
            kind?: components["schemas"]["SpanKind"];
        };
        Series: {
            labels: components["schemas"]["Labels"];
            points: components["schemas"]["Point"][];
        };
        Point: {
            timeUnixNano: components["schemas"]["UnixNano"];
            requestCount: components["schemas"]["Count"];
            errorCount: components["schemas"]["Count"];
            errorRate: number;
            successRate: number;
            p50Nano: components["schemas"]["Nano"];
            p75Nano: components["schemas"]["Nano"];
            p90Nano: components["schemas"]["Nano"];
            p95Nano: components["schemas"]["Nano"];
            p99Nano: components["schemas"]["Nano"];
            maxNano: components["schemas"]["Nano"];
            exemplarTraceIds: components["schemas"]["TraceId"][];
        };
        BackupRequest: {
            id?: string | null;
            have?: string[];
        };
        BackupsAnswer: {
            backups: {
                id: string;
                takenUnixNano: components["schemas"]["UnixNano"];
                blockCount: components["schemas"]["Count"];
                spanCount: components["schemas"]["Count"];
                byteCount: components["schemas"]["Count"];
                lostBlockCount: components["schemas"]["Count"];
            }[];
        };
        CheckLine: {
            progress: components["schemas"]["CheckProgress"];
        } | {
            report: components["schemas"]["CheckReport"];
        };
        CheckProgress: {
            byteCount: components["schemas"]["Count"];
            ofByteCount: components["schemas"]["Count"];
        };
        CheckReport: {
            blockCount: components["schemas"]["Count"];
            byteCount: components["schemas"]["Count"];
            spanCount: components["schemas"]["Count"];
            indexRowCount: components["schemas"]["Count"];
            staleIndexRowCount: number;
            replacedBlockCount: number;
            plainBlockCount: number;
            findings: {
                /** @enum {string} */
                kind: "store" | "catalogRow" | "block" | "index" | "unreferenced" | "backups";
                tenant?: string;
                hour?: number;
                block?: string;
                detail: string;
            }[];
            moreFindings: number;
        };
        DeleteRequest: {
            /** Format: traceql */
            q: string;
            start?: components["schemas"]["Time"] | null;
            end?: components["schemas"]["Time"] | null;
            /** @default false */
            wait: boolean;
        };
        DeletionAnswer: {
            deletion: components["schemas"]["Deletion"];
        };
        DeletionsAnswer: {
            deletions: components["schemas"]["Deletion"][];
        };
        Deletion: {
            id: string;
            /** @enum {string} */
            state: "running" | "done";
            acceptedUnixNano: components["schemas"]["UnixNano"];
            finishedUnixNano: components["schemas"]["UnixNano"] | null;
            traceCount: components["schemas"]["Count"];
            spanCount: components["schemas"]["Count"];
            damagedBlockCount: components["schemas"]["Count"];
            backups: {
                id: string;
                takenUnixNano: components["schemas"]["UnixNano"];
            }[];
            damagedStoreKept: boolean;
        };
        PinsAnswer: {
            pins: components["schemas"]["Pin"][];
        };
        PinAnswer: {
            pin: components["schemas"]["Pin"];
        };
        Pin: {
            traceId: components["schemas"]["TraceId"];
            sinceUnixNano: components["schemas"]["UnixNano"];
        };
        IngestDelay: {
            receiver: string;
            spanCount: components["schemas"]["Count"];
            p50Nano: components["schemas"]["Count"];
            p99Nano: components["schemas"]["Count"];
        };
        TopicReader: {
            group: string;
            topics: string[];
            encoding: string;
            /** @enum {string} */
            state: "connecting" | "reading" | "waiting" | "stopped";
            reason: string | null;
            partitionCount: components["schemas"]["Count"];
            lag: components["schemas"]["Count"];
        };
        Status: {
            version: string;
            spanCount: components["schemas"]["Count"];
            traceCount: components["schemas"]["Count"];
            logRowCount: components["schemas"]["Count"];
            storeBytes: components["schemas"]["Count"];
            freshBlockCount: components["schemas"]["Count"];
            damagedBlockCount: components["schemas"]["Count"];
            damagedRecordCount: components["schemas"]["Count"];
            logWasCut: boolean;
            unsealedSpanCount: components["schemas"]["Count"];
            oldestUnixNano: components["schemas"]["UnixNano"] | null;
            newestUnixNano: components["schemas"]["UnixNano"] | null;
            ingestSpansPerSecond: number;
            ingestDelays: components["schemas"]["IngestDelay"][];
            topicReaders: components["schemas"]["TopicReader"][];
            listen: {
                [key: string]: string;
            };
            encrypted: string[];
            limits: {
                [key: string]: number | string;
            };
        };
        Tenant: string;
        TenantsAnswer: {
            tenants: components["schemas"]["TenantSize"][];
        };
        TenantSize: {
            tenant: components["schemas"]["Tenant"];
            spanCount: components["schemas"]["Count"];
            traceCount: components["schemas"]["Count"];
            storeBytes: components["schemas"]["Count"];
            oldestUnixNano: components["schemas"]["UnixNano"] | null;
            newestUnixNano: components["schemas"]["UnixNano"] | null;
        };
        TenantDeletion: {
            tenant: components["schemas"]["Tenant"];
            deletions: components["schemas"]["Deletion"][];
        };
        UsageAnswer: {
            sinceUnixNano: components["schemas"]["UnixNano"];
            tenants: components["schemas"]["TenantUsage"][];
        };
        TenantUsage: {
            tenant: string;
            receivedSpans: components["schemas"]["Count"];
            receivedBytes: components["schemas"]["Count"];
            refusedRequests: components["schemas"]["Count"];
            questions: components["schemas"]["Count"];
            refusedQuestions: components["schemas"]["Count"];
            scannedSpans: components["schemas"]["Count"];
            storedSpans: components["schemas"]["Count"];
            storedBytes: components["schemas"]["Count"];
            services: components["schemas"]["ServiceUsage"][];
        };
        ServiceUsage: {
            service: string;
            receivedSpans: components["schemas"]["Count"];
            receivedBytes: components["schemas"]["Count"];
        };
        Problem: {
            type: string;
            title: string;
            status: number;
            detail: string;
            parameter?: string;
            allowed?: string;
        };
        AuditLine: {
            seq: number;
            /** Format: date-time */
            time: string;
            event: string;
            prev: string;
        } & {
            [key: string]: unknown;
        };
        Login: {
            name: string;
            password: string;
            next?: string | null;
        };
        Role: string;
        Me: {
            name: string | null;
            role: components["schemas"]["Role"] | null;
            tenant: string | null;
            /** @enum {string|null} */
            via: "key" | "session" | "proxy" | "jwt" | "oidc" | "certificate" | null;
            multitenancy: boolean;
        };
        LoggedOut: {
            location: string;
        };
        CreateKey: {
            role: components["schemas"]["Role"];
            tenant?: string | null;
            name?: string | null;
            lifetimeNano?: number | null;
        };
        Key: {
            id: string;
            name: string;
            role: components["schemas"]["Role"];
            tenant: string;
            createdUnixNano: string;
            expiresUnixNano: string | null;
            lastUsedUnixNano: string | null;
        };
        Keys: {
            keys: components["schemas"]["Key"][];
        };
        CreatedKey: {
            key: string;
            id: string;
            name: string;
            role: components["schemas"]["Role"];
            tenant: string;
            createdUnixNano: string;
            expiresUnixNano: string | null;
            lastUsedUnixNano: string | null;
        };
    };
    responses: never;
    parameters: never;
    requestBodies: never;
    headers: never;
    pathItems: never;
}
export type $defs = Record<string, never>;
export type operations = Record<string, never>;
