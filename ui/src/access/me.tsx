/** The caller, as the server knows it: asked once, and given to all components. */
import { createContext, type ReactNode, useContext } from "react";
import { apiUrl } from "../api/client";
import type { Me } from "../api/types";
import { useApi } from "../api/useApi";

interface Known {
  /** Undefined until the server has answered, and if it failed to. */
  me: Me | undefined;
  loading: boolean;
}

const Context = createContext<Known>({ me: undefined, loading: false });

export function MeProvider({ children }: { children: ReactNode }) {
  const { data, loading } = useApi<Me>(apiUrl(["me"]), { ofServer: true, maxAge: 0, keep: true });
  return <Context value={{ me: data, loading: loading && !data }}>{children}</Context>;
}

export function useMe(): Known {
  return useContext(Context);
}
