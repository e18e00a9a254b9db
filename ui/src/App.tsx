/** The frame around every page: header, the page of the address, and the focus after a change of page. */
import { lazy, Suspense, useEffect, useRef } from "react";
import { MeProvider, useMe } from "./access/me";
import { NoSpans } from "./access/NoSpans";
import { readsSpans } from "./access/pages";
import { useChosenTenants, usePath, useQuery } from "./address/address";
import { type Page, readPage } from "./address/routes";
import { ErrorBoundary } from "./components/ErrorBoundary";
import { Header } from "./components/Header";
import { Empty, Loading } from "./components/States";
import { useTitle } from "./components/useTitle";
import { SearchPage } from "./search/SearchPage";
import { TracePage } from "./trace/TracePage";

const ServicesPage = lazy(() => import("./services/ServicesPage"));
const ServicePage = lazy(() => import("./services/ServicePage"));
const MeshPage = lazy(() => import("./mesh/MeshPage"));
const KeysPage = lazy(() => import("./keys/KeysPage"));
const UsagePage = lazy(() => import("./usage/UsagePage"));
const AuditPage = lazy(() => import("./audit/AuditPage"));

export function App() {
  return (
    <ErrorBoundary>
      <MeProvider>
        <SkipLink />
        <Header />
        <Main />
      </MeProvider>
    </ErrorBoundary>
  );
}

/** The link includes the path, because a bare fragment would resolve against the document's base. */
function SkipLink() {
  usePath();
  useQuery();
  const { pathname, search } = window.location;
  return (
    <a className="skip-link" href={`${pathname}${search}#main`}>
      Skip to content
    </a>
  );
}

function Main() {
  const path = usePath();
  const tenants = useChosenTenants();
  const main = useRef<HTMLElement>(null);
  const shown = useRef(path);
  useEffect(() => {
    if (shown.current === path) return;
    shown.current = path;
    main.current?.focus({ preventScroll: true });
    window.scrollTo(0, 0);
  }, [path]);
  return (
    <main id="main" ref={main} tabIndex={-1}>
      {/* Nothing of a page about some tenants stays when others are chosen. */}
      <ErrorBoundary key={`${tenants} ${path}`}>
        <Suspense fallback={<Loading label="Loading page" />}>
          <CurrentPage />
        </Suspense>
      </ErrorBoundary>
    </main>
  );
}

const PAGES_OF_SPANS: readonly Page["name"][] = ["search", "trace", "services", "service", "mesh"];

function CurrentPage() {
  const path = usePath();
  const { params } = useQuery();
  const { me, loading } = useMe();
  const page = readPage(path, params);
  // Without knowing the role, requests would be sent that the server refuses and writes down.
  if (loading) return <Loading label="Loading page" />;
  if (me && PAGES_OF_SPANS.includes(page.name) && !readsSpans(me)) return <NoSpans me={me} />;
  switch (page.name) {
    case "search":
      return <SearchPage />;
    case "trace":
      return <TracePage key={page.id} id={page.id} />;
    case "services":
      return <ServicesPage />;
    case "service":
      return <ServicePage key={page.service} service={page.service} />;
    case "mesh":
      return <MeshPage />;
    case "keys":
      return <KeysPage />;
    case "usage":
      return <UsagePage />;
    case "audit":
      return <AuditPage />;
    case "unknown":
      return <NotFound />;
  }
}

function NotFound() {
  useTitle("Page not found");
  return (
    <Empty title="There is no such page">
      <p>The address may be misspelt. Search, Services and the trace box above lead everywhere.</p>
    </Empty>
  );
}
