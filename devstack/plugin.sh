#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Karbor in devstack: the API, the protection service and the operation engine, on devstack's database, broker and
# Keystone. It protects shares when Manila's plugin is there, and databases when Trove's is.
#
# The functions that are called and not defined here, and the variables that are read and not set here or in
# `settings`, are devstack's.

# devstack sources this file with its own settings of the shell; it must not end the shell, nor leave options behind.
# shellcheck source=devstack/settings
# shellcheck disable=SC2154  # variables of devstack

function is_karbor_enabled {
    [[ ,$ENABLED_SERVICES =~ ,karbor ]]
}

function install_karbor {
    setup_develop "$KARBOR_DIR" mysql,postgresql
    pip_install "$KARBOR_CLIENT"
}

# The user, the service and its endpoints in Keystone.
function create_karbor_accounts {
    local url="$KARBOR_SERVICE_PROTOCOL://$KARBOR_SERVICE_HOST:$KARBOR_SERVICE_PORT/v1/\$(project_id)s"

    # devstack gives every service's user the role `service`; tokens of its users are extended by that.
    create_service_user karbor admin
    get_or_create_service karbor data-protect 'Data protection'
    get_or_create_endpoint data-protect "$REGION_NAME" "$url" "$url" "$url"
}

function configure_karbor {
    sudo install -d -o "$STACK_USER" "$KARBOR_CONF_DIR" "$KARBOR_CONF_DIR/providers.d" "$KARBOR_STATE_PATH" \
        "$KARBOR_BANK_PATH"
    rm -f "$KARBOR_CONF"
    install -m 0600 /dev/null "$KARBOR_CONF"

    iniset "$KARBOR_CONF" DEFAULT debug "$ENABLE_DEBUG_LOG_LEVEL"
    iniset "$KARBOR_CONF" DEFAULT state_path "$KARBOR_STATE_PATH"
    iniset "$KARBOR_CONF" DEFAULT provider_config_dir "$KARBOR_CONF_DIR/providers.d"
    iniset "$KARBOR_CONF" DEFAULT osapi_karbor_listen "$KARBOR_API_LISTEN_ADDRESS"
    iniset "$KARBOR_CONF" DEFAULT osapi_karbor_listen_port "$KARBOR_SERVICE_PORT"
    iniset "$KARBOR_CONF" DEFAULT osapi_karbor_workers "$KARBOR_API_WORKERS"
    iniset "$KARBOR_CONF" database connection "$(database_connection_url karbor)"
    iniset_rpc_backend karbor "$KARBOR_CONF"
    configure_keystone_authtoken_middleware "$KARBOR_CONF" karbor
    iniset "$KARBOR_CONF" service_auth send_service_token true

    configure_karbor_clients
    configure_karbor_providers
    setup_logging "$KARBOR_CONF"
}

# Where Karbor looks for Manila and Trove in the catalogue.
function configure_karbor_clients {
    local group

    for group in manila_client trove_client; do
        iniset "$KARBOR_CONF" "$group" region_id "$REGION_NAME"
        iniset "$KARBOR_CONF" "$group" interface public
    done
}

function configure_karbor_providers {
    local name

    for name in openstack-infra noop; do
        sudo install -m 0644 -o "$STACK_USER" "$KARBOR_DIR/etc/karbor/providers.d/$name.conf" \
            "$KARBOR_CONF_DIR/providers.d/$name.conf"
        iniset "$KARBOR_CONF_DIR/providers.d/$name.conf" file_system_bank_plugin file_system_bank_path \
            "$KARBOR_BANK_PATH"
    done
    iniset "$KARBOR_CONF_DIR/providers.d/noop.conf" provider enabled "$KARBOR_NOOP_PROVIDER"
}

function init_karbor {
    recreate_database karbor
    "$KARBOR_BIN_DIR/karbor-manage" --config-file "$KARBOR_CONF" db sync
}

function start_karbor {
    local service

    for service in karbor-protection karbor-operationengine karbor-api; do
        run_process "$service" "$KARBOR_BIN_DIR/$service --config-file $KARBOR_CONF"
    done
    if is_service_enabled karbor-api; then
        local url="$KARBOR_SERVICE_PROTOCOL://$KARBOR_SERVICE_HOST:$KARBOR_SERVICE_PORT/healthcheck"
        wait_for_service "$SERVICE_TIMEOUT" "$url" || die $LINENO "karbor-api does not answer at $url"
    fi
}

function stop_karbor {
    local service

    for service in karbor-api karbor-operationengine karbor-protection; do
        stop_process "$service"
    done
}

function clean_karbor {
    sudo rm -rf "$KARBOR_CONF_DIR" "$KARBOR_STATE_PATH"
}

# What devstack calls a plugin with: stack install | post-config | extra, unstack, clean.
function karbor_phase {
    KARBOR_BIN_DIR=$(get_python_exec_prefix)

    case "$1 ${2:-}" in
        'stack install')
            echo_summary 'Installing Karbor'
            install_karbor
            ;;
        'stack post-config')
            echo_summary 'Configuring Karbor'
            if is_service_enabled key keystone; then
                create_karbor_accounts
            fi
            configure_karbor
            ;;
        'stack extra')
            echo_summary 'Starting Karbor'
            init_karbor
            start_karbor
            ;;
        'unstack ')
            stop_karbor
            ;;
        'clean ')
            clean_karbor
            ;;
    esac
}

if is_karbor_enabled; then
    karbor_phase "$@"
fi
